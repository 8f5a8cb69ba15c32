/** What one rank is about: its queues, what each operation still waits for, and its host. */
import type { OrderedOperation, OrderedProgram } from '../schedule/compile.js';

/** What made an operation start when it did. */
export const causes = { start: -1, host: -2 } as const;

/** A compiled program, and what the event loop needs of it besides; the same for all ranks of a stage. */
export interface FlatProgram {
  readonly compiled: OrderedProgram;
  readonly operations: readonly OrderedOperation[];
  /** 1 for operations until whose end the host issues nothing further: binds, and kernels where the host runs them. */
  readonly blocksHost: Uint8Array;
}

export function flatten(compiled: OrderedProgram, hostRunsKernels: boolean): FlatProgram {
  const { operations } = compiled;
  const blocksHost = new Uint8Array(operations.length);
  operations.forEach(({ operation: { body } }, index) => {
    if (body.kind === 'bind' || (body.kind === 'kernel' && hostRunsKernels)) blocksHost[index] = 1;
  });
  return { compiled, operations, blocksHost };
}

/** One operation of one rank, as it went. */
export interface Happening {
  readonly flat: OrderedOperation;
  issued: number;
  ready: number;
  end: number;
  finished: boolean;
  bytes: number;
  /** The operation of the same rank whose end let this one start, or one of `causes`. */
  readonly cause: number;
  /** The operation that the host waited for last before it issued this one; -1 for none. */
  readonly blocker: number;
  /** When its bytes were through; latency is what is left then. */
  through: number;
  /** Who made a collective ready: the rank that came last, and its operation. */
  lastRank: number;
  lastOperation: number;
  /** Port that held this rank's last flow back longest; -1 for none. */
  port: number;
}

export interface RankState {
  readonly flat: FlatProgram;
  readonly pending: Int32Array;
  /** By queue: place of the next operation, and whether one runs. */
  readonly heads: Int32Array;
  readonly running: Uint8Array;
  /** When each queue's next attempt is foreseen, for an operation that the host has yet to issue. */
  readonly attempts: Float64Array;
  /** Operations below this index may be issued. */
  issuable: number;
  /** The host got free at `hostFree`, to issue operation `hostNext` next. */
  hostFree: number;
  hostNext: number;
  ended: number;
  readonly happenings: (Happening | undefined)[];
}

/** Everything before the first operation. */
export function rankState(flat: FlatProgram | undefined): RankState {
  if (!flat) throw new RangeError('a rank has no program');
  const { operations, compiled } = flat;
  const queues = compiled.queues.length;
  const pending = new Int32Array(operations.length);
  operations.forEach(({ after }, index) => (pending[index] = after.length));
  return {
    flat,
    pending,
    heads: new Int32Array(queues),
    running: new Uint8Array(queues),
    attempts: new Float64Array(queues).fill(-1),
    issuable: nextBlock(flat, 0),
    hostFree: 0,
    hostNext: 0,
    ended: 0,
    happenings: operations.map(() => undefined),
  };
}

/** One past the next operation, from `from` on, that keeps the host from issuing further. */
export function nextBlock({ blocksHost }: FlatProgram, from: number): number {
  const next = blocksHost.indexOf(1, from);
  return next < 0 ? blocksHost.length : next + 1;
}
