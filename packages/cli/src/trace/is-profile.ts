/** Whether a file is a trace of another program's profiler, by its first bytes. */
import { closeSync, openSync, readSync } from 'node:fs';
import { constants, gunzipSync } from 'node:zlib';

const headBytes = 1 << 16;

function headOf(path: string): Buffer {
  const buffer = Buffer.alloc(headBytes);
  const file = openSync(path, 'r');
  try {
    return buffer.subarray(0, readSync(file, buffer, 0, headBytes, 0));
  } finally {
    closeSync(file);
  }
}

/** What a packed file begins with, as far as its first bytes say. */
function unpackedHead(head: Buffer): Buffer {
  if (head[0] !== 0x1f || head[1] !== 0x8b) return head;
  try {
    return gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    // damaged: whoever reads it will say so
    return Buffer.alloc(0);
  }
}

/** False also for a file that cannot be opened, which reading will say. */
export function isProfile(path: string): boolean {
  try {
    const text = unpackedHead(headOf(path)).toString('utf8');
    return (
      text.startsWith('SQLite format 3') ||
      (/"(?:traceEvents|deviceProperties|schemaVersion)"\s*:/u.test(text) && !text.includes('"monta trace'))
    );
  } catch {
    return false;
  }
}
