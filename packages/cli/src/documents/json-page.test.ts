/** docs/json.md beside what commands print: every key that they print is there, as what it says. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const page = readFileSync(`${root}docs/json.md`, 'utf8');

/** Types by key, of every section. */
const sections = new Map(
  page
    .split(/^#{2,3} /mu)
    .slice(1)
    .map((text) => {
      const [title = ''] = text.split('\n', 1);
      const rows = [...text.matchAll(/^\| `([^`]+?)\??` \| (.*) \|$/gmu)];
      return [title, { text, types: rows.map(([, key = '', type = '']) => ({ key, type })) }] as const;
    }),
);
const sectionOf = (title: string) => {
  const found = sections.get(title) ?? [...sections].find(([name]) => name.toLowerCase() === title)?.[1];
  if (found === undefined) throw new Error(`docs/json.md has no section ${title}`);
  return found;
};

const kindOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value === 'string' ? 'string' : typeof value;

/** What of a value the section does not say, as paths. */
function unsaid(value: unknown, title: string, prefix = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => unsaid(one, title, prefix));
  if (typeof value !== 'object' || value === null) return [];
  const { types } = sectionOf(title);
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = `${prefix}${key}`;
    const own = types.filter((row) => row.key === path).map(({ type }) => type);
    if (own.length === 0) return [`${title}: ${path}`];
    const said = own.join(' or ');
    const links = [...said.matchAll(/\]\(#([\w-]+)\)/gu)].map(([, name = '']) => name);
    const kind = kindOf(inner);
    const literal = said.includes('`');
    const named = kind === 'object' ? said.includes('object') || links.length > 0 : said.includes(kind) || literal;
    if (!named && !(kind === 'null' && said.includes('number'))) return [`${title}: ${path} is ${kind}, not ${said}`];
    if (links.length > 0 && (kind === 'object' || kind === 'array')) {
      const tried = links.map((link) => unsaid(inner, link.startsWith('plan-') ? 'plan, without a layout' : link));
      return tried.reduce((least, one) => (one.length < least.length ? one : least));
    }
    if (said.includes('object of') || /array of (?:string|number)/u.test(said)) return [];
    const [above] = own.flatMap((type) => /Keys as of `([^`]+)`/u.exec(type)?.[1] ?? []);
    return unsaid(inner, title, `${above ?? `${path}${kind === 'array' ? '[]' : ''}`}.`);
  });
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
  expect([...new Set(unsaid(printed, startOf(title)))]).toEqual([]);
});
