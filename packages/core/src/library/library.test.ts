/** Every example of the library's functions, run as it stands: it prints what its comments say. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { examplesIn } from '../../testing/library-examples.js';
import * as library from './index.js';

const files = readdirSync(new URL('.', import.meta.url)).filter((name) => /^[a-z-]+\.ts$/u.test(name));
const examples = files.flatMap((name) => examplesIn(readFileSync(new URL(name, import.meta.url), 'utf8')));

describe('examples', () => {
  it('are there for every function that is made for the library', () => {
    const shown = new Set(examples.map(({ of }) => of));
    const passedOn = ['InputError', 'readCluster', 'readModel', 'writePerfetto'];
    const made = Object.keys(library).filter((name) => !passedOn.includes(name));
    expect(made.length).toBeGreaterThan(8);
    expect(made.filter((name) => !shown.has(name))).toEqual([]);
  });

  it.each(examples)('$of: $code', ({ run, printed }) => {
    expect(run(library)).toEqual(printed);
  });
});
