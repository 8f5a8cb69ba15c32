/**
 * Builds the docs site into docs-site/: README as its first page, the pages of docs/, CONTRIBUTING and CHANGELOG. Files
 * of the repository that pages link to lie beside them. Then every link of every page is followed: to a file that is
 * there, and to an anchor that is in it. `npm run docs:site`.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build } from 'vitepress';

const root = fileURLToPath(new URL('..', import.meta.url));
const site = join(root, 'docs-site');

rmSync(site, { recursive: true, force: true });
await build(join(root, 'tools/site'));
const pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.html'));
const textOf = new Map(pages.map((page) => [page, readFileSync(join(site, page), 'utf8')]));
const anchorsOf = new Map(
  pages.map((page) => [page, new Set([...textOf.get(page).matchAll(/\sid="([^"]+)"/gu)].map(([, id]) => id))]),
);

const isFile = (path) => existsSync(path) && statSync(path).isFile();

/** A file of the repository beside the pages, which lie as they do there. */
function copied(file) {
  const [source, target] = [join(root, file), join(site, file)];
  if (file.startsWith('..') || !isFile(source)) return false;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target);
  return true;
}

/** What is wrong with a link of a page; undefined for nothing. */
function problemOf(page, link) {
  const [path, anchor] = link.split('#').map((part) => decodeURIComponent(part));
  const named = `${page}: ${link}`;
  const absolute = path === '' ? page : path.startsWith('/') ? path.slice(1) : join(dirname(page), path);
  const found = [absolute, `${absolute}.html`, join(absolute, 'index.html')].find((file) => isFile(join(site, file)));
  if (found === undefined) return copied(absolute) ? undefined : named;
  if (anchor === undefined || anchor === '' || !found.endsWith('.html')) return undefined;
  return anchorsOf.get(found)?.has(anchor) === true ? undefined : named;
}

let followed = 0;
const problems = pages.flatMap((page) =>
  [...textOf.get(page).matchAll(/\s(?:href|src|srcset)="([^"]*)"/gu)]
    .map(([, link]) => link.replaceAll('&amp;', '&'))
    .filter((link) => !/^(?:[a-z]+:|\/\/)/u.test(link))
    .flatMap((link) => {
      followed += 1;
      return problemOf(page, link) ?? [];
    }),
);
const listed = textOf.get('index.html');
for (const page of pages.filter((one) => one.startsWith('docs/')))
  if (!listed.includes(`href="/${page}"`))
    problems.push(`${page}: not in the list of pages (tools/site/.vitepress/config.mjs)`);
for (const problem of new Set(problems)) process.stderr.write(`leads nowhere: ${problem}\n`);
process.stdout.write(
  `${pages.length} pages in docs-site/, ${followed} links followed, ${problems.length} lead nowhere\n`,
);
process.exitCode = problems.length > 0 ? 1 : 0;
