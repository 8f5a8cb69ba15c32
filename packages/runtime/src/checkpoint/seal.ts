/**
 * A digest inside a safetensors file of Monta's, in the header's free metadata: SHA-256 of the whole file with the
 * digest's own 64 characters as zeros. The format itself can't tell damaged numbers from good ones; other readers
 * ignore the entry.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { InputError } from '@monta/core/units';
import { hashFile } from './digest.js';
import { realDisk, type Disk } from '../files/disk.js';
import { maxHeaderBytes } from './safetensors-header.js';

const key = 'monta_sha256';
const digestLength = 64;

/** Metadata to declare a file with that `sealFile` will complete. */
export const unsealed: Readonly<Record<string, string>> = { [key]: '0'.repeat(digestLength) };

/** Where the digest lies in a file; undefined without one. */
function findDigest(path: string): { start: number; end: number; digest: string } | undefined {
  const descriptor = openSync(path, 'r');
  try {
    const prefix = Buffer.alloc(8);
    if (readSync(descriptor, prefix, 0, 8, 0) < 8) return undefined;
    const length = prefix.readBigUInt64LE(0);
    if (length > BigInt(maxHeaderBytes)) return undefined;
    const header = Buffer.alloc(Number(length));
    readSync(descriptor, header, 0, header.length, 8);
    const mark = `"${key}":"`;
    const at = header.indexOf(mark);
    if (at < 0) return undefined;
    const start = 8 + at + mark.length;
    const digest = header.toString('latin1', start - 8, start - 8 + digestLength);
    return { start, end: start + digestLength, digest };
  } finally {
    closeSync(descriptor);
  }
}

/** Writes the digest into a finished file that was declared with `unsealed`. */
export function sealFile(path: string, disk: Disk = realDisk): void {
  const place = findDigest(path);
  if (place === undefined) throw new Error(`${path} was not declared with a digest`);
  const bytes = Buffer.from(hashFile(path, place), 'latin1');
  const descriptor = openSync(path, 'r+');
  try {
    for (let done = 0; done < bytes.length;)
      done += disk.write(descriptor, bytes, done, bytes.length - done, place.start + done);
    disk.sync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Whether a file carries a digest; throws InputError when the file does not match it. Reads the whole file. */
export function checkSeal(path: string): boolean {
  const place = findDigest(path);
  if (place === undefined) return false;
  const { start, end, digest } = place;
  if (hashFile(path, { start, end }) !== digest)
    throw new InputError('the file is damaged: it does not match the digest in its header', {
      file: path,
      expected: `SHA-256 ${digest}`,
      hint: 'take another copy of the checkpoint',
    });
  return true;
}
