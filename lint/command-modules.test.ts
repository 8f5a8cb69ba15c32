/**
 * What the command `monta` loads before it does anything: a module is some tenths of a millisecond each, and people
 * wait for all of them together.
 */
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importsOf, laterImportsOf, packages, reachedFrom } from './loaded-modules.js';

const cli = join(packages, 'cli/src');
const main = join(cli, 'main.ts');

/** What a file of `cli` loads before it runs, as paths below `packages`. */
const loadedBy = (file: string): string[] =>
  [...reachedFrom([join(cli, file)], importsOf)].map((source) => relative(packages, source));

const searches = /^core\/src\/plan\/(?!space\/|(?:dispatch-of)\.)/u;

describe('monta loads what a command needs', () => {
  it('no command, and of core its units alone, for help and version', () => {
    const loaded = loadedBy('main.ts');
    expect(loaded).toContain('core/src/units/errors.ts');
    expect(loaded.filter((file) => file.includes('.command.'))).toEqual([]);
    expect(loaded.filter((file) => file.startsWith('core/') && !file.startsWith('core/src/units/'))).toEqual([]);
    expect(loaded.filter((file) => importsOf(join(packages, file)).includes('yaml'))).toEqual([]);
    expect(loaded.length).toBeLessThan(50);
  });

  // The flags of `export` name the frameworks, which it needs whatever it writes.
  it.each(readdirSync(join(cli, 'commands')).filter((file) => /(?<!export)\.command\.ts$/u.test(file)))(
    'neither search nor ranks for the flags of %s',
    (file) => {
      const loaded = loadedBy(join('commands', file));
      expect(loaded.filter((one) => searches.test(one) || /^(?:views|runtime\/src\/(?!files))/u.test(one))).toEqual([]);
    },
  );

  it.each([
    ['memory', /^(?:runtime\/src\/(?!files)|views|core\/src\/(?:frameworks|doctor|plan\/search))/u],
    ['plan', /^(?:runtime\/src\/(?!files)|views|core\/src\/(?:frameworks|doctor|plan\/document))/u],
    ['simulate', /^(?:runtime\/src\/(?!files)|views|core\/src\/(?:frameworks|doctor|plan\/document))/u],
    ['inspect', /^(?:views|core\/src\/(?:frameworks|doctor|plan)|runtime\/src\/(?:launch|comm\/mpi|train))/u],
    // Ranks that only serve load no more than this.
    ['train', /^(?:views|core\/src\/(?:frameworks|doctor|plan)|runtime\/src\/(?:train|probe|verify))/u],
    ['verify', /^(?:views|core\/src\/(?:frameworks|doctor|plan))/u],
  ])('%s without what only others use', (command, others) => {
    expect(loadedBy(`commands/${command}.ts`).filter((file) => others.test(file))).toEqual([]);
  });

  it('parts of core by their names, whatever the command', () => {
    const all = reachedFrom([main], (file) => [...importsOf(file), ...laterImportsOf(file)]);
    expect(all.size).toBeGreaterThan(500);
    expect([...all].filter((file) => importsOf(file).includes('@monta/core'))).toEqual([]);
  });
});
