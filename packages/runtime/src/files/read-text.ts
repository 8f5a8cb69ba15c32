/** Small text files of checkpoints: read whole, within a bound. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { InputError } from '@monta/core/units';
import { describeCause } from './errno.js';

const mebibyte = 2 ** 20;
/** Of a `config.json`, a manifest or an index: the index of a thousand shards has 10 MiB. */
const mostMetadataBytes = 64 * mebibyte;

/** UTF-8 text of a regular file of at most `most` bytes. `expected` is for messages. Throws InputError. */
export function readText(path: string, expected: string, most = mostMetadataBytes): string {
  const bad = (message: string, wanted: string): InputError =>
    new InputError(message, { file: path, expected: wanted });
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw bad('is not a file', expected);
    if (stat.size > most) throw bad(`has ${stat.size} bytes`, `${expected}, of at most ${most} bytes`);
    return readFileSync(descriptor, 'utf8');
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw bad(`can't be read: ${describeCause(error)}`, expected);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** As `readText`, as JSON. */
export function readJson(path: string, expected: string, most = mostMetadataBytes): unknown {
  const text = readText(path, expected, most);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new InputError(`is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      file: path,
      expected,
    });
  }
}
