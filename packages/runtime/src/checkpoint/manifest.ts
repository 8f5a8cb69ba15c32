/**
 * `manifest.json`: which files a training state consists of, their sizes and digests. It is written last; without it
 * nothing counts.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InputError, isRecord } from '@monta/core/units';
import { hashFile, hashText } from './digest.js';
import { writeFileDurably, type Disk } from '../files/disk.js';
import { readJson } from '../files/read-text.js';

export const manifestName = 'manifest.json';

export interface FileRecord {
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export type Manifest = ReadonlyMap<string, FileRecord>;

/** Size and digest of a file as it lies on the disk. */
export const recordFile = (path: string): FileRecord => ({ bytes: statSync(path).size, sha256: hashFile(path) });

const bodyOf = (files: Manifest): string => JSON.stringify(Object.fromEntries(files));

/** Writes the manifest of a folder, with a digest of its own. */
export function writeManifest(folder: string, files: Manifest, disk?: Disk): void {
  const body = bodyOf(files);
  const text = `${JSON.stringify({ sha256: hashText(body), files: JSON.parse(body) as unknown }, null, 2)}\n`;
  writeFileDurably(join(folder, manifestName), text, disk);
}

const takeAnother = 'take an earlier checkpoint, or another copy of this one';

function readManifest(path: string): Manifest {
  const bad = (message: string, expected: string): InputError => new InputError(message, { file: path, expected });
  if (!existsSync(path)) throw bad('the checkpoint is not complete', 'the manifest that is written last');
  const parsed = readJson(path, 'the manifest that is written last');
  const files = new Map<string, FileRecord>();
  const listed = isRecord(parsed) ? parsed['files'] : undefined;
  if (!isRecord(parsed) || !isRecord(listed)) throw bad('is damaged', 'a list of files');
  for (const [name, record] of Object.entries(listed)) {
    const { bytes, sha256 } = isRecord(record) ? record : {};
    if (name !== basename(name) || typeof bytes !== 'number' || typeof sha256 !== 'string')
      throw bad(`is damaged at ${JSON.stringify(name)}`, 'size and digest of a file of the folder');
    files.set(name, { bytes, sha256 });
  }
  if (hashText(bodyOf(files)) !== parsed['sha256'])
    throw bad('is damaged: it does not match its own digest', 'a whole manifest');
  return files;
}

/**
 * Compares a folder with its manifest: all files there, of the recorded sizes, none besides, and with `digests` of the
 * recorded content (which reads everything). Throws InputError that names the file.
 */
export function checkManifest(folder: string, digests: boolean): Manifest {
  const files = readManifest(join(folder, manifestName));
  for (const [name, { bytes, sha256 }] of files) {
    const file = join(folder, name);
    const stat = statSync(file, { throwIfNoEntry: false });
    if (stat?.isFile() !== true)
      throw new InputError('is missing from the checkpoint', {
        file,
        expected: `a file of ${bytes} bytes`,
        hint: takeAnother,
      });
    if (stat.size !== bytes)
      throw new InputError(`has ${stat.size} bytes`, {
        file,
        expected: `${bytes}, as ${manifestName} says`,
        hint: takeAnother,
      });
    if (digests && hashFile(file) !== sha256)
      throw new InputError('is damaged: its content does not match the digest', {
        file,
        expected: `SHA-256 ${sha256}, as ${manifestName} says`,
        hint: takeAnother,
      });
  }
  for (const name of readdirSync(folder))
    if (name !== manifestName && !files.has(name))
      throw new InputError('does not belong to the checkpoint', {
        file: join(folder, name),
        expected: `the files of ${manifestName} only`,
      });
  return files;
}
