/**
 * What moves the bytes of ready operations: at memory speed (`memory-engine.ts`) or paced by an emulated fabric
 * (`fabric.ts`).
 */
import type { Party } from '../party.js';
import type { ReadyOperation } from './matching.js';

export interface Engine {
  /** Takes over an operation; may move bytes at once. */
  start(operation: ReadyOperation): void;
  /** Moves what is due at `now` (seconds), and returns the parties that have ended. */
  advance(now: number): Party[];
  /** When `advance` is needed again, seconds on the same clock; Infinity when nothing is in flight. */
  nextWake(): number;
  /** True while operations are in flight. */
  readonly busy: boolean;
}
