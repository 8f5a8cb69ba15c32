/**
 * Verifies folders on layouts of 1, 2, 4 and 8 ranks with every dispatcher that serves them, and writes the table of
 * docs/verify.md: `npm run docs:verify -- --ranks 1,2`. What was verified is kept in docs/verify.json, so that pieces
 * add up; `--folders` names the folder of folders, `--only` some of them.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { halvesName, InputError, parseLayout, searchedHalves, unsupportedStrategy, worldSize } from '@monta/core';
import { verify } from '@monta/runtime';

const repository = new URL('../../../../', import.meta.url);
const marks = ['<!-- matrix -->', '<!-- end of matrix -->'] as const;
const at = (name: string): string => fileURLToPath(new URL(name, repository));

/** TP, EP, ETP, DP and mixtures, sequence parallelism on and off. */
const layouts = [
  'tp=1',
  'tp=2',
  'tp=2,sp',
  'dp=2,ep=2',
  'tp=2,etp=1,ep=2',
  'tp=4',
  'tp=2,dp=2,ep=2',
  'tp=2,dp=2,ep=2,sp',
  'dp=4,ep=2',
  'tp=4,dp=2,ep=2',
  'tp=4,dp=2,ep=2,sp',
  'tp=2,dp=4,ep=4,etp=2',
  'tp=4,dp=2,ep=4,etp=2',
  'tp=4,dp=2,ep=8,etp=1,sp',
  'dp=8,ep=8',
];

/** Chunks forward and backward, spread over the dispatchers. */
const chunks = [
  { forward: 1, backward: 1 },
  { forward: 2, backward: 3 },
  { forward: 3, backward: 1 },
];

/** One folder on one layout. */
interface Row {
  readonly folder: string;
  readonly layout: string;
  readonly dispatchers: number;
  /** Of all quantities, and how many of them were past their tolerance. */
  readonly quantities: number;
  readonly past: number;
  /** The largest error, as a share of its tolerance, and what it is of. */
  readonly worst: number;
  readonly of: string;
}

async function verifiedRow(folder: string, path: string, text: string): Promise<Row> {
  const parsed = parseLayout(text);
  const layout = { ...parsed, ranksPerNode: Math.ceil(worldSize(parsed) / 2) };
  const strategies = searchedHalves()
    .filter((halves) => unsupportedStrategy(halves, { layout }) === undefined)
    .map((halves, index) => ({ ...halves, chunks: chunks[index % chunks.length] ?? { forward: 1, backward: 1 } }));
  const found = await verify({ folder: path, layout, strategies });
  const all = found.flatMap(({ strategy, quantities }) =>
    quantities.map((one) => ({ ...one, name: halvesName(strategy), share: one.error / one.tolerance })),
  );
  const worst = all.reduce((a, b) => (b.share > a.share ? b : a));
  return {
    folder,
    layout: text,
    dispatchers: found.length,
    quantities: all.length,
    past: all.filter(({ passed }) => !passed).length,
    worst: Number(worst.share.toPrecision(2)),
    of: `${worst.quantity}, ${worst.name}`,
  };
}

/** By folder and number of ranks. */
function table(rows: readonly Row[]): string {
  const folders = [...new Set(rows.map(({ folder }) => folder))].sort();
  const lines = folders.flatMap((folder) =>
    [1, 2, 4, 8].flatMap((ranks) => {
      const those = rows.filter((row) => row.folder === folder && worldSize(parseLayout(row.layout)) === ranks);
      if (those.length === 0) return [];
      const sum = (key: 'dispatchers' | 'quantities' | 'past'): number =>
        those.reduce((total, row) => total + row[key], 0);
      const worst = those.reduce((a, b) => (b.worst > a.worst ? b : a));
      return [
        `| ${folder} | ${ranks} | ${those.length} | ${sum('dispatchers')} | ${sum('quantities') - sum('past')} of ` +
          `${sum('quantities')} | ${(100 * worst.worst).toPrecision(2)} % (${worst.of}, \`${worst.layout}\`) |`,
      ];
    }),
  );
  return [
    '| folder | ranks | layouts | dispatchers run | quantities within tolerance | largest error, of its tolerance |',
    '|---|--:|--:|--:|--:|---|',
    ...lines,
  ].join('\n');
}

const { values } = parseArgs({
  options: {
    ranks: { type: 'string', default: '1,2,4,8' },
    folders: { type: 'string', default: at('fixtures/hf') },
    only: { type: 'string' },
  },
});
const ranks = new Set(values.ranks.split(',').map(Number));
const kept = at('docs/verify.json');
let rows: Row[] = existsSync(kept) ? (JSON.parse(readFileSync(kept, 'utf8')) as Row[]) : [];
const folders = readdirSync(values.folders).filter(
  (name) =>
    existsSync(join(values.folders, name, 'expected.safetensors')) &&
    (values.only === undefined || values.only.split(',').includes(name)),
);
for (const text of layouts.filter((one) => ranks.has(worldSize(parseLayout(one)))))
  for (const folder of folders) {
    const row = await verifiedRow(folder, join(values.folders, folder), text);
    process.stdout.write(`${folder} ${text}: ${row.quantities - row.past} of ${row.quantities}\n`);
    const place = (one: Row): string => `${one.folder} ${String(layouts.indexOf(one.layout)).padStart(2, '0')}`;
    rows = [...rows.filter((one) => one.folder !== folder || one.layout !== text), row].sort((a, b) =>
      place(a) < place(b) ? -1 : 1,
    );
    writeFileSync(kept, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
const page = at('docs/verify.md');
const text = readFileSync(page, 'utf8');
const [start, end] = marks.map((mark) => text.indexOf(mark)) as [number, number];
if (start < 0 || end < start)
  throw new InputError('has no place for the table', { file: 'docs/verify.md', expected: marks.join(' … ') });
writeFileSync(page, `${text.slice(0, start + marks[0].length)}\n\n${table(rows)}\n\n${text.slice(end)}`);
process.stdout.write('wrote docs/verify.md\n');
if (rows.some(({ past }) => past > 0)) process.exitCode = 1;
