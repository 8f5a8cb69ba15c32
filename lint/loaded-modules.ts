/** Which modules of this repository an entry loads, read off its sources: no process is started for it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const packages = fileURLToPath(new URL('../packages', import.meta.url));

/** TypeScript files of folders below `packages`; of a folder that is not there, none. */
export function filesOf(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    !existsSync(join(packages, folder))
      ? []
      : readdirSync(join(packages, folder), { recursive: true, encoding: 'utf8' })
          .filter((file) => /\.tsx?$/u.test(file))
          .map((file) => join(packages, folder, file)),
  );
}

const importLine = /^(?:import|export) (?!type )[^;]*?from '([^']+)';/gmu;
const laterImport = /\bimport\('([^']+)'\)/gu;

const found = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, imported = '']) => imported);

/** What a source file imports before it runs, types apart. */
export const importsOf = (file: string): string[] => found(readFileSync(file, 'utf8'), importLine);

/** What it imports when it gets there. */
export const laterImportsOf = (file: string): string[] => found(readFileSync(file, 'utf8'), laterImport);

/** The source file of an import; undefined where it is no part of this repository. */
export function sourceOf(imported: string, from: string): string | undefined {
  const [, name, part] = /^@monta\/(\w+)(?:\/(.+))?$/u.exec(imported) ?? [];
  const path =
    name !== undefined
      ? join(packages, name, 'src', part ?? '', 'index.js')
      : imported.startsWith('#runtime/')
        ? join(packages, 'runtime/src', imported.slice('#runtime/'.length))
        : resolve(dirname(from), imported);
  const file = path.replace(/\.js$/u, '.ts');
  return /^(?:[.#]|@monta\/)/u.test(imported) && existsSync(file) ? file : undefined;
}

/** All source files that these load before they run, themselves included, by what `follow` says of each. */
export function reachedFrom(starts: readonly string[], follow: (file: string) => readonly string[]): Set<string> {
  const reached = new Set<string>();
  const waiting = [...starts];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    for (const imported of follow(file)) {
      const source = sourceOf(imported, file);
      if (source !== undefined) waiting.push(source);
    }
  }
  return reached;
}
