import { describeCause } from '../files/errno.js';

/** A save that failed: what was being written, why, and what is still there. Nothing of it is left on the disk. */
export class SaveError extends Error {
  override readonly name = 'SaveError';
  readonly exitCode = 2;

  constructor(event: string, cause: unknown, standing: string) {
    super(`${event}: ${describeCause(cause)}. ${standing}`, { cause });
  }
}
