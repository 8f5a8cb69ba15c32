/** Reading and writing the files of people: whole files, atomic writes, and errors that say what to do. */
import { writeFileAtomically, type Disk, type FileContent } from '@monta/runtime/files';
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { InputError } from '@monta/core/units';
import { fileError } from './errors.js';

/** Of a configuration, a description, a calibration or a log. */
const mostTextLength = 64 * 2 ** 20;

/**
 * Text of a file or pipe that a person named, of at most `most` characters. Throws `InputError` that says what is wrong
 * with it.
 */
export function readTextFile(path: string, most = mostTextLength): string {
  const pieces: string[] = [];
  let length = 0;
  for (const piece of readTextPieces(path)) {
    pieces.push(piece);
    length += piece.length;
    if (length > most)
      throw new InputError('is too large', {
        file: path,
        expected: `text of at most ${most} characters`,
        hint: 'is it the file you meant?',
      });
  }
  return pieces.join('');
}

const notText = (path: string): InputError =>
  new InputError('is not a text file', { file: path, expected: 'UTF-8 text', hint: 'is it the file you meant?' });

const pieceBytes = 1 << 20;

/**
 * Text of a file that a person named, piece by piece, for files too large to be held whole. Throws `InputError` as
 * `readTextFile` does, once the pieces before the bad one were handed out.
 */
export function* readTextPieces(path: string): Generator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const buffer = new Uint8Array(pieceBytes);
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    for (let length = -1; length !== 0;) {
      length = readSync(file, buffer, 0, pieceBytes, null);
      const piece = decoder.decode(buffer.subarray(0, length), { stream: length > 0 });
      if (piece.includes('\0')) throw notText(path);
      yield piece;
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw error instanceof TypeError ? notText(path) : fileError(error, path);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * Whether a name denotes an existing file or folder, or one that may not be looked at; a text that can name no file
 * denotes none.
 */
export function pathExists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'ELOOP');
  }
}

/**
 * Makes a folder and those above it that are missing, each by itself: Node's recursive mkdir tries again without end
 * where a file system refuses new folders with ENOENT, as /proc does. Throws what the system says, or EEXIST where a
 * file stands in the way.
 */
export function makeFolders(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const parent = dirname(path);
  if (parent !== path) makeFolders(parent);
  try {
    mkdirSync(path);
  } catch (error) {
    // Another run may have made it in the meantime.
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error;
  }
}

/**
 * Writes a whole file so that at any moment either the old or the new content is there. Throws `InputError` when it
 * cannot (a full disk, missing rights); what was at `path` is then untouched.
 */
export function writeFile(path: string, content: FileContent, disk?: Disk): void {
  try {
    writeFileAtomically(path, content, disk);
  } catch (error) {
    throw fileError(error, path);
  }
}
