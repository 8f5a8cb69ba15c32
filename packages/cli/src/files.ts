/** Reading and writing the files of people: whole files, atomic writes, and errors that say what to do. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { InputError } from '@monta/core';
import { fileError } from './errors.js';

/** The file operations behind the writes of this command; a test passes one that fails. */
export interface FileSystem {
  open(path: string, flags: string): number;
  /** Writes all of `data`. */
  write(file: number, data: Uint8Array): void;
  sync(file: number): void;
  close(file: number): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
}

/** The real one. */
export const nodeFileSystem: FileSystem = {
  open: (path, flags) => openSync(path, flags),
  write(file, data) {
    // write(2) may take less than it is given, on a nearly full disk above all; the next call then reports the reason.
    for (let offset = 0; offset < data.length;) offset += writeSync(file, data, offset);
  },
  sync: fsyncSync,
  close: closeSync,
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
};

/** Text of a file that a person named. Throws `InputError` that says what is wrong with it. */
export function readTextFile(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw fileError(error, path);
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  throw notText(path);
}

const notText = (path: string): InputError =>
  new InputError('is not a text file', { file: path, expected: 'UTF-8 text', hint: 'is it the file you meant?' });

const pieceBytes = 1 << 20;

/**
 * Text of a file that a person named, piece by piece, for files too large to be held whole. Throws `InputError` as `readTextFile` does, once
 * the pieces before the bad one were handed out.
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

/** Whether a name denotes an existing file or folder. */
export function pathExists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Makes a folder and those above it that are missing, each by itself: Node's recursive mkdir tries again without end where a file system
 * refuses new folders with ENOENT, as /proc does. Throws what the system says, or EEXIST where a file stands in the way.
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

/** Makes a rename durable; some file systems refuse to sync folders, and then there is nothing to gain. */
function syncFolder(fs: FileSystem, folder: string): void {
  let file: number | undefined;
  try {
    file = fs.open(folder, 'r');
    fs.sync(file);
  } catch {
    return;
  } finally {
    if (file !== undefined) fs.close(file);
  }
}

/** The content of a file: whole, or piece by piece where it is too large for one string. */
export type FileContent = string | Uint8Array | Iterable<string>;

function* bytesOf(content: FileContent): Generator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else if (typeof content === 'string') yield Buffer.from(content, 'utf8');
  else for (const piece of content) yield Buffer.from(piece, 'utf8');
}

/**
 * Writes a whole file so that at any moment either the old or the new content is there: written aside, flushed to the disk,
 * renamed. Throws `InputError` when it cannot (a full disk, missing rights); what was at `path` is then untouched.
 */
export function writeFileAtomically(path: string, content: FileContent, fs: FileSystem = nodeFileSystem): void {
  const aside = `${path}.writing-${process.pid}`;
  let file: number | undefined;
  try {
    file = fs.open(aside, 'w');
    for (const bytes of bytesOf(content)) fs.write(file, bytes);
    fs.sync(file);
    fs.close(file);
    file = undefined;
    fs.rename(aside, path);
  } catch (error) {
    if (file !== undefined) fs.close(file);
    fs.remove(aside);
    throw fileError(error, path);
  }
  syncFolder(fs, dirname(path));
}
