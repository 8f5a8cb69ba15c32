/** SHA-256 of what lies on the disk. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';

const pieceBytes = 1 << 20;

/**
 * SHA-256 of a file, hexadecimal, read in pieces. `blank`: a range of bytes that counts as zeros '0' (a digest that
 * lies in the file which it describes).
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
