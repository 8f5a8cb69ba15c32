/**
 * Verifies folders on layouts of 1, 2, 4 and 8 ranks with every dispatcher that serves them, and writes the table of
 * docs/verify.md: `npm run docs:verify -- --ranks 1,2`. What was verified is kept in docs/verify.json with the commit
 * of its sources, so that pieces add up; `--missing` leaves out what was run of these sources, `--folders` names the
 * folder of folders, `--only` some of them.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { halvesName, InputError } from '@monta/core';
import {
  onTwoNodes,
  verifiedLayouts,
  verifiedStrategies,
  verifyAll,
  type Verification,
  type VerifyCase,
} from '@monta/runtime';
import { ranksOf, verifyTable, withRows, type VerifyRow } from './verify-table.js';

const repository = new URL('../../../../', import.meta.url);
const marks = ['<!-- matrix -->', '<!-- end of matrix -->'] as const;
const at = (name: string): string => fileURLToPath(new URL(name, repository));

/** Chunks forward and backward, spread over the dispatchers. */
const chunks = [
  { forward: 1, backward: 1 },
  { forward: 2, backward: 3 },
  { forward: 3, backward: 1 },
];

/** The last commit of what computes, with a plus where it was changed since. */
function sourceCommit(): string {
  const git = (...words: string[]): string => execFileSync('git', words, { cwd: at('.'), encoding: 'utf8' }).trim();
  const sources = ['--', 'packages/core/src', 'packages/runtime/src'];
  const changed = git('status', '--porcelain', ...sources);
  return `${git('log', '-1', '--format=%h', '--abbrev=8', ...sources)}${changed === '' ? '' : '+'}`;
}

function caseOf(folder: string, text: string): VerifyCase {
  const layout = onTwoNodes(text);
  return { folder, layout, strategies: verifiedStrategies(layout, chunks) };
}

function rowOf(found: readonly Verification[], place: Pick<VerifyRow, 'folder' | 'layout' | 'commit'>): VerifyRow {
  const all = found.flatMap(({ strategy, quantities }) =>
    quantities.map((one) => ({ ...one, name: halvesName(strategy), share: one.error / one.tolerance })),
  );
  const worst = all.reduce((a, b) => (b.share > a.share ? b : a));
  return {
    ...place,
    dispatchers: found.length,
    quantities: all.length,
    past: all.filter(({ passed }) => !passed).length,
    worst: Number(worst.share.toPrecision(2)),
    of: `${worst.quantity}, ${worst.name}`,
  };
}

function writeTable(rows: readonly VerifyRow[]): void {
  const page = at('docs/verify.md');
  const text = readFileSync(page, 'utf8');
  const [start, end] = marks.map((mark) => text.indexOf(mark)) as [number, number];
  if (start < 0 || end < start)
    throw new InputError('has no place for the table', { file: 'docs/verify.md', expected: marks.join(' … ') });
  writeFileSync(page, `${text.slice(0, start + marks[0].length)}\n\n${verifyTable(rows)}\n\n${text.slice(end)}`);
}

const { values } = parseArgs({
  options: {
    ranks: { type: 'string', default: '1,2,4,8' },
    folders: { type: 'string', default: at('fixtures/hf') },
    only: { type: 'string' },
    missing: { type: 'boolean', default: false },
  },
});
const ranks = new Set(values.ranks.split(',').map(Number));
const commit = sourceCommit();
const kept = at('docs/verify.json');
let rows = existsSync(kept) ? withRows(JSON.parse(readFileSync(kept, 'utf8')) as VerifyRow[], []) : [];
const folders = readdirSync(values.folders).filter(
  (name) =>
    existsSync(join(values.folders, name, 'expected.safetensors')) &&
    (values.only === undefined || values.only.split(',').includes(name)),
);
const done = (folder: string, layout: string): boolean =>
  values.missing && rows.some((row) => row.folder === folder && row.layout === layout && row.commit === commit);
// Folders of one layout share a start of ranks.
for (const layout of verifiedLayouts.filter((one) => ranks.has(ranksOf(one)))) {
  const those = folders.filter((folder) => !done(folder, layout));
  if (those.length === 0) continue;
  const found = await verifyAll(those.map((folder) => caseOf(join(values.folders, folder), layout)));
  const later = found.map((one, place) => rowOf(one, { folder: those[place] ?? '', layout, commit }));
  for (const { folder, quantities, past } of later)
    process.stdout.write(`${layout} ${folder}: ${quantities - past} of ${quantities}\n`);
  rows = withRows(rows, later);
  writeFileSync(kept, `${JSON.stringify(rows, undefined, 2)}\n`);
}
writeTable(rows);
process.stdout.write('wrote docs/verify.md\n');
if (rows.some(({ past }) => past > 0)) process.exitCode = 1;
