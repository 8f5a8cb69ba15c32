/** docs/json.md beside what commands print: every key that they print is there, as what it says. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const page = readFileSync(`${root}docs/json.md`, 'utf8');

interface Row {
  readonly key: string;
  /** Whether it may be missing. */
  readonly optional: boolean;
  /** The column of types, with `|` as it stands in types. */
  readonly type: string;
  readonly meaning: string;
}

/** Columns of a row of a table: the `|` of types are escaped. */
const columnsOf = (line: string): string[] =>
  line
    .split(/(?<!\\)\|/u)
    .slice(1, -1)
    .map((column) => column.trim().replaceAll(String.raw`\|`, '|'));

function rowOf(line: string): Row {
  const [name = '', type = '', , meaning = ''] = columnsOf(line);
  const key = name.replaceAll('`', '');
  return { key: key.replace(/\?$/u, ''), optional: key.endsWith('?'), type, meaning };
}

/** Rows of every section. */
const sections = new Map(
  page
    .split(/^#{2,3} /mu)
    .slice(1)
    .map((text) => {
      const [title = '', ...lines] = text.split('\n');
      return [title, { text, rows: lines.filter((line) => line.startsWith('| `')).map(rowOf) }] as const;
    }),
);
const sectionOf = (title: string) => {
  const found = sections.get(title) ?? [...sections].find(([name]) => name.toLowerCase() === title)?.[1];
  if (found === undefined) throw new Error(`docs/json.md has no section ${title}`);
  return found;
};

/** Whether a type, as the page writes it, is that of a value: a literal is the value itself. */
function isOf(type: string, value: unknown): boolean {
  const literals = [...type.matchAll(/`([^`]+)`/gu)].map(([, literal]) => literal);
  // What JSON cannot hold of numbers is null.
  if (value === null) return /\bnull\b/u.test(type) || /\bnumber\b/u.test(type);
  if (Array.isArray(value)) return /\barray of\b|^\[(?!plan\])/u.test(type);
  if (typeof value === 'object') return /\bobject\b|\]\(#/u.test(type);
  return literals.includes(JSON.stringify(value)) || new RegExp(String.raw`\b${typeof value}\b`, 'u').test(plain(type));
}

/** Without literals and links, whose words are no types. */
const plain = (type: string): string => type.replaceAll(/`[^`]*`|\[[\w ]+\]\([^)]*\)/gu, '');

/** Where a value is not what the section says: keys unsaid, of another type, or missing. */
function wrong(value: unknown, title: string, prefix = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => wrong(one, title, prefix));
  if (typeof value !== 'object' || value === null) return [];
  const { rows } = sectionOf(title);
  const inside = rows.filter(({ key }) => key.startsWith(prefix) && !/[.[]/u.test(key.slice(prefix.length)));
  // A key that stands there twice is of one form of several.
  const forms = new Set(inside.map(({ key }) => key).filter((key, at, all) => all.indexOf(key) !== at));
  const missing =
    forms.size > 0 ? [] : inside.filter(({ key, optional }) => !optional && !(key.slice(prefix.length) in value));
  const printed = Object.entries(value).flatMap(([key, inner]) => {
    const path = `${prefix}${key}`;
    const own = rows.filter((row) => row.key === path);
    if (own.length === 0) return [`${title}: ${path} is not said`];
    const fitting = own.filter(({ type }) => isOf(type, inner));
    if (fitting.length === 0)
      return [`${title}: ${path} is ${JSON.stringify(inner)}, not ${own.map(({ type }) => type).join(' or ')}`];
    const said = fitting.map(({ type }) => type).join(' or ');
    const links = [...said.matchAll(/\]\(#([\w-]+)\)/gu)].map(([, name = '']) => name);
    if (said.includes('object of') || /array of (?:string|number)/u.test(said)) return [];
    const [above] = fitting.flatMap(({ meaning }) => /Keys as of `([^`]+)`/u.exec(meaning)?.[1] ?? []);
    const here = (): string[] => wrong(inner, title, `${above ?? `${path}${Array.isArray(inner) ? '[]' : ''}`}.`);
    if (links.length === 0 || typeof inner !== 'object' || inner === null) return here();
    const tried = [
      ...links.map((link) => wrong(inner, link.startsWith('plan-') ? 'plan, without a layout' : link)),
      ...(/\bobject\b/u.test(said) ? [here()] : []),
    ];
    return tried.reduce((least, one) => (one.length < least.length ? one : least));
  });
  return [...missing.map(({ key }) => `${title}: ${key} is not printed`), ...printed];
}

/** The section that a command's part names, where it only does that. */
const startOf = (title: string): string => /^\[(\w+)\]\(#/mu.exec(sectionOf(title).text)?.[1] ?? title;

const cluster = ['--cluster', 'h100-2x8'];

it.each<readonly [string, readonly string[]]>([
  ['cluster', ['cluster', 'h100-2x8']],
  ['model', ['model', 'deepseek-v3']],
  ['memory', ['memory', '--model', 'mixtral-8x7b', ...cluster, '--layout', 'dp=16,ep=8']],
  ['plan, with a layout', ['plan', '--model', 'tiny-bytes', '--cluster', 'laptop-2x2', '--layout', 'tp=1,dp=4,ep=4']],
  ['inspect', ['inspect', 'fixtures/hf/tiny-mixtral']],
  ['lint', ['lint', 'examples/qwen3-30b.sh']],
  ['doctor', ['doctor', 'examples/slow-all-to-all.log', ...cluster]],
])('%s prints what the page says', async (title, inputs) => {
  const paths = inputs.map((word) => (/^(?:fixtures|examples)\//u.test(word) ? `${root}${word}` : word));
  const { out, err } = await monta(...paths, '--json');
  expect({ out, err }).not.toHaveProperty('out', '');
  const printed: unknown = JSON.parse(out);
  expect(Object.keys(printed as object).length).toBeGreaterThan(1);
  expect([...new Set(wrong(printed, startOf(title)))]).toEqual([]);
});

it('tells another type, another literal and a key that is missing', () => {
  const coverage = { group: 'ep', op: 'all_to_all', ranks: 8, nodes: 1, coverage: { kind: 'none', why: 'x' } };
  expect(wrong(coverage, 'GroupCoverage')).toEqual([]);
  expect(wrong({ ...coverage, group: 8 }, 'GroupCoverage')).toHaveLength(1);
  expect(wrong({ ...coverage, group: 'none' }, 'GroupCoverage')).toHaveLength(1);
  expect(wrong({ ...coverage, ranks: '8' }, 'GroupCoverage')).toHaveLength(1);
  const { ranks: _, ...without } = coverage;
  expect(wrong(without, 'GroupCoverage')).toEqual(['GroupCoverage: ranks is not printed']);
});

it('has a meaning for every key', () => {
  const unexplained = [...sections].flatMap(([title, { rows }]) =>
    rows.filter(({ meaning }) => meaning === '').map(({ key }) => `${title}: ${key}`),
  );
  expect(unexplained).toEqual([]);
});
