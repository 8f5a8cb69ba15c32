/**
 * What ranks load: each is a thread or a process that begins with it, many at a time. Parts of core by their names are
 * a third of what the whole of it is.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const runtime = fileURLToPath(new URL('../packages/runtime', import.meta.url));
const importLine = /^(?:import|export) (?!type )[^;]*?from '([^']+)';/gmu;

/** What a source file imports, types apart. */
const importsOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(importLine)].map(([, imported = '']) => imported);

function sourceOf(imported: string, from: string): string | undefined {
  const path = imported.startsWith('#runtime/')
    ? join(runtime, 'src', imported.slice('#runtime/'.length))
    : resolve(dirname(from), imported);
  const file = path.replace(/\.js$/u, '.ts');
  return /^[.#]/u.test(imported) && existsSync(file) ? file : undefined;
}

it('ranks load no more of core than the parts that they name', () => {
  const starts = ['src', 'testing'].flatMap((folder) =>
    readdirSync(join(runtime, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.worker\.ts$|launch\/(?:mpi|nccl)-main\.ts$/u.test(file))
      .map((file) => join(runtime, folder, file)),
  );
  const reached = new Set<string>();
  const waiting = [...starts];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    for (const imported of importsOf(file)) {
      const source = sourceOf(imported, file);
      if (source !== undefined) waiting.push(source);
    }
  }
  expect(starts.length).toBeGreaterThan(10);
  expect(reached.size).toBeGreaterThan(200);
  expect([...reached].filter((file) => importsOf(file).includes('@monta/core'))).toEqual([]);
});
