/** Lines end at 120 characters. Only what holds no space to break at, as an address or a pattern, may go on. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const repository = fileURLToPath(new URL('..', import.meta.url));
const longest = 120;
/** Short words before what cannot be broken: an indentation, a comment's sign, the start of a string. */
const unbroken = 100;

const lengthOf = (text: string): number => Array.from(text).length;

/** Whether a line is longer than allowed though it could be broken. */
function tooLong(line: string): boolean {
  return lengthOf(line) > longest && !line.split(' ').some((word) => lengthOf(word) > unbroken);
}

it('sources have lines of at most 120 characters', () => {
  const kinds = ['ts', 'mjs', 'js', 'cu', 'cuh', 'py'].map((ending) => `*.${ending}`);
  const files = execFileSync('git', ['ls-files', '-z', ...kinds], { cwd: repository, encoding: 'utf8' });
  const sources = files.split('\0').filter((file) => file !== '' && existsSync(join(repository, file)));
  const found = sources.flatMap((file) =>
    readFileSync(join(repository, file), 'utf8')
      .split('\n')
      .flatMap((line, index) => (tooLong(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
  expect(sources.length).toBeGreaterThan(500);
  expect(found).toEqual([]);
});

it('a line that could be broken is found, one that cannot is not', () => {
  expect(tooLong('word '.repeat(25))).toBe(true);
  expect(tooLong(`// ${'x'.repeat(130)}`)).toBe(false);
  expect(tooLong('é'.repeat(60).concat(' ', 'é'.repeat(59)))).toBe(false);
});
