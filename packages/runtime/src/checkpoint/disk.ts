/** The operations of the file system behind saving, so that a test can let them fail, and what else saving needs of it. */
import { createHash } from 'node:crypto';
import { InputError } from '@monta/core';
import { closeSync, existsSync, copyFileSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs';

export interface Disk {
  /** As `fs.writeSync`: may take less than it is given. */
  write(descriptor: number, bytes: Uint8Array, offset: number, length: number, position: number): number;
  sync(descriptor: number): void;
  rename(from: string, to: string): void;
}

export const realDisk: Disk = { write: writeSync, sync: fsyncSync, rename: renameSync };

/** Creates a file (which must not exist), writes it and flushes it to the disk. */
export function writeFileDurably(path: string, text: string, disk: Disk = realDisk): void {
  const descriptor = openSync(path, 'wx');
  try {
    const bytes = Buffer.from(text, 'utf8');
    for (let done = 0; done < bytes.length;) done += disk.write(descriptor, bytes, done, bytes.length - done, done);
    disk.sync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Copies a file and flushes the copy to the disk. */
export function copyFileDurably(from: string, to: string, disk: Disk = realDisk): void {
  copyFileSync(from, to);
  const descriptor = openSync(to, 'r+');
  try {
    disk.sync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Makes the names in a folder durable (after creating or renaming in it). */
export function syncFolder(folder: string, disk: Disk = realDisk): void {
  const descriptor = openSync(folder, 'r');
  try {
    disk.sync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

const pieceBytes = 1 << 20;

/**
 * SHA-256 of a file, hexadecimal, read in pieces. `blank`: a range of bytes that counts as zeros '0' (a digest that lies in the file
 * which it describes).
 */
export function hashFile(path: string, blank?: { readonly start: number; readonly end: number }): string {
  const hash = createHash('sha256');
  const descriptor = openSync(path, 'r');
  try {
    const piece = Buffer.alloc(pieceBytes);
    for (let at = 0; ;) {
      const got = readSync(descriptor, piece, 0, pieceBytes, at);
      if (got === 0) return hash.digest('hex');
      if (blank !== undefined && blank.start < at + got && blank.end > at)
        piece.fill('0', Math.max(0, blank.start - at), Math.min(got, blank.end - at));
      hash.update(piece.subarray(0, got));
      at += got;
    }
  } finally {
    closeSync(descriptor);
  }
}

export const hashText = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A save that failed: what was being written, why, and what is still there. Nothing of it is left on the disk. */
export class SaveError extends Error {
  override readonly name = 'SaveError';
  readonly exitCode = 2;

  constructor(event: string, cause: unknown, standing: string) {
    super(`${event}: ${describeCause(cause)}. ${standing}`, { cause });
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full (ENOSPC)',
  EDQUOT: 'the disk quota is used up (EDQUOT)',
  EFBIG: 'the file would grow beyond a limit (EFBIG)',
  EROFS: 'the file system is read-only (EROFS)',
  EACCES: 'permission denied (EACCES)',
  ENOENT: 'there is no such file (ENOENT)',
  EISDIR: 'it is a folder (EISDIR)',
  ENOTDIR: 'a part of the path is a file (ENOTDIR)',
  EIO: 'the disk reported an error (EIO)',
};

/** Why a file operation failed, in words. */
export function describeCause(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  return reasons[code] ?? cause.message;
}

/** To be thrown about a path that is no folder. */
export const noFolder = (path: string, expected: string): InputError =>
  existsSync(path)
    ? new InputError('is a file', { file: path, expected, hint: 'name the folder that holds it' })
    : new InputError('there is no such folder', { file: path, expected, hint: 'check the path' });
