/** No circles among files of published code, of types and of modules that are loaded when needed neither. */
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';
import { filesOf, packages } from './loaded-modules.js';

const files = filesOf('core/src', 'views/src', 'studio/src', 'runtime/src', 'cli/src').filter(
  (file) => !/\.test\.tsx?$/u.test(file),
);

/** Files of the own package that a text imports, at once or later. */
function importsOf(file: string, known: ReadonlySet<string>): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:\bfrom|\bimport\()\s*'(\.[^']+)\.js'/gu)].flatMap(([, path = '']) =>
    ['.ts', '.tsx'].map((ending) => join(dirname(file), path + ending)).filter((one) => known.has(one)),
  );
}

/** The first way from a file back to itself, file by file; undefined where there is none. */
function circleIn(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const found = visit(next);
      if (found !== undefined) return found;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const found = visit(file);
    if (found !== undefined) return found;
  }
  return undefined;
}

it('finds a circle', () => {
  const graph = { a: ['b', 'c'], b: [], c: ['d'], d: ['b', 'c'] };
  expect(circleIn(new Map(Object.entries(graph)))).toEqual(['c', 'd', 'c']);
});

it('of published files there is none', () => {
  const known = new Set(files);
  const graph = new Map(files.map((file) => [file, importsOf(file, known)]));
  expect([...graph.values()].flat().length).toBeGreaterThan(3000);
  expect(circleIn(graph)?.map((file) => relative(packages, file))).toBeUndefined();
});
