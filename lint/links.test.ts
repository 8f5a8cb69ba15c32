/** Links between the pages of the repository: every local file is there, and every anchor in it. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

const markdownIn = (folder: string): string[] =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, folder, name));
const packages = readdirSync(join(root, 'packages')).map((name) => `packages/${name}`);
const pages = ['.', 'docs', 'examples', 'fixtures', ...packages].flatMap(markdownIn);

/** A page without its code, in which brackets are no links. */
const prose = (text: string): string => text.replaceAll(/^```[\s\S]*?^```$/gmu, '').replaceAll(/`[^`\n]*`/gu, '');

/** Names that links may point at: those of headings as GitHub makes them, and those that are set. */
function anchorsOf(page: string): Set<string> {
  const text = readFileSync(page, 'utf8');
  const headings = [...text.replaceAll(/^```[\s\S]*?^```$/gmu, '').matchAll(/^#+ +(.*)$/gmu)].map(([, heading = '']) =>
    heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/gu, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/gu, '-'),
  );
  const set = [...text.matchAll(/<a id="([^"]+)"/gu)].map(([, id = '']) => id);
  return new Set([...headings, ...set]);
}

interface Link {
  readonly page: string;
  readonly target: string;
}

const linksOf = (page: string): Link[] =>
  [...prose(readFileSync(page, 'utf8')).matchAll(/\]\(([^)\s]+)\)/gu)]
    .map(([, target = '']) => ({ page, target }))
    .filter(({ target }) => !/^[a-z]+:/u.test(target));

/** What is wrong with a link; undefined for nothing. */
function problemOf({ page, target }: Link): string | undefined {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? page : join(dirname(page), decodeURIComponent(path));
  const named = `${relative(root, page)}: ${target}`;
  if (!existsSync(file)) return named;
  if (anchor === undefined || !file.endsWith('.md') || statSync(file).isDirectory()) return undefined;
  return anchorsOf(file).has(anchor) ? undefined : named;
}

it('local links lead somewhere', () => {
  const links = pages.flatMap(linksOf);
  expect(links.length).toBeGreaterThan(50);
  expect(links.flatMap((link) => problemOf(link) ?? [])).toEqual([]);
});

it('every page of docs is linked from another page', () => {
  const linked = new Set(
    pages.flatMap(linksOf).map(({ page, target }) => join(dirname(page), target.split('#')[0] ?? '')),
  );
  expect(markdownIn('docs').filter((page) => !linked.has(page))).toEqual([]);
});
