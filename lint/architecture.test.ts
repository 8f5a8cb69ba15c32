/** docs/architecture.md names the rooms that there are. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

/** The order of core's folders as the rules have it. */
const coreOrder = [
  ...(/coreOrder = \[([^\]]*)\]/u.exec(readFileSync(join(root, 'lint/layers.mjs'), 'utf8'))?.[1] ?? '').matchAll(
    /'(\w+)'/gu,
  ),
].map(([, name = '']) => name);

const foldersOf = (name: string): string[] =>
  readdirSync(join(root, 'packages', name, 'src'), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );

/** Folders of a package in the page's table. */
const listed = (name: string): string => page.split('\n').find((line) => line.startsWith(`| ${name} |`)) ?? '';

it.each(['core', 'views', 'studio', 'runtime', 'cli'])('names every folder of %s', (name) => {
  const folders = foldersOf(name);
  expect(folders.length).toBeGreaterThan(2);
  expect(folders.filter((folder) => !new RegExp(`\\b${folder}\\b`, 'u').test(listed(name)))).toEqual([]);
});

it('names no file of a package that is not there', () => {
  const files = ['core', 'views', 'studio', 'runtime', 'cli'].flatMap((name) =>
    readdirSync(join(root, 'packages', name, 'src'), { recursive: true, encoding: 'utf8' }).map(
      (file) => `/${name}/${file}`,
    ),
  );
  const named = [...page.matchAll(/`([\w/-]+\.ts)`/gu)]
    .map(([, file = '']) => file)
    .filter((file) => !/^(lint|testing)\//u.test(file));
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((file) => !files.some((one) => one.endsWith(`/${file}`)))).toEqual([]);
});

it('says the order that the rules hold, of all folders that core has', () => {
  expect(page).toContain(`${coreOrder.join(', ')}: each imports only`);
  expect(page).toContain(`this list: ${coreOrder.join(', ')}.`);
  expect([...coreOrder].sort()).toEqual(foldersOf('core').sort());
});
