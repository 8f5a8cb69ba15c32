/** Writing that survives a crash, and the operations of the file system behind it, so that a test can let them fail. */
import {
  closeSync,
  copyFileSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

export interface Disk {
  /** As `fs.writeSync`: may take less than it is given; position null writes on at the end. */
  write(descriptor: number, bytes: Uint8Array, offset: number, length: number, position: number | null): number;
  sync(descriptor: number): void;
  rename(from: string, to: string): void;
}

export const realDisk: Disk = { write: writeSync, sync: fsyncSync, rename: renameSync };

/**
 * Writes all of `bytes` after what was written so far. write(2) may take less: on a nearly full disk the next call says
 * why.
 */
export function writeAll(descriptor: number, bytes: Uint8Array, disk: Disk = realDisk): void {
  for (let done = 0; done < bytes.length;) done += disk.write(descriptor, bytes, done, bytes.length - done, null);
}

/** The content of a file: whole, or piece by piece where it is too large for one string. */
export type FileContent = string | Uint8Array | Iterable<string>;

function* bytesOf(content: FileContent): Generator<Uint8Array> {
  if (content instanceof Uint8Array) yield content;
  else if (typeof content === 'string') yield Buffer.from(content, 'utf8');
  else for (const piece of content) yield Buffer.from(piece, 'utf8');
}

/** Creates a file (which must not exist), writes it and flushes it to the disk. */
export function writeFileDurably(path: string, content: FileContent, disk: Disk = realDisk): void {
  const descriptor = openSync(path, 'wx');
  try {
    for (const bytes of bytesOf(content)) writeAll(descriptor, bytes, disk);
    disk.sync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Writes to what is no file but takes bytes (a device, a pipe): nothing could be put in its place. */
function writeThrough(path: string, content: FileContent, disk: Disk): void {
  const descriptor = openSync(path, 'w');
  try {
    for (const bytes of bytesOf(content)) writeAll(descriptor, bytes, disk);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Writes a whole file so that at any moment either the old or the new content is there: written aside, flushed to the
 * disk, renamed; behind a link, the file that it stands for. A device or a pipe (`/dev/stdout`) takes the bytes as they
 * come. Throws what the system says when it cannot (a full disk, missing rights); what was at `path` is then untouched.
 */
export function writeFileAtomically(given: string, content: FileContent, disk: Disk = realDisk): void {
  const found = statSync(given, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile() && !found.isDirectory()) {
    writeThrough(given, content, disk);
    return;
  }
  const path = found === undefined ? given : realpathSync(given);
  const aside = `${path}.writing-${process.pid}`;
  try {
    rmSync(aside, { force: true });
    writeFileDurably(aside, content, disk);
    disk.rename(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
  try {
    syncFolder(dirname(path), disk);
  } catch {
    // Some file systems refuse to flush folders, and then there is nothing to gain.
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
