/** What one rank is about: its queues, what each operation still waits for, and its host. */
import { lanes } from './compile.js';
import type { FlatOperation, FlatProgram } from './compile.js';

/** What made an operation start when it did. */
export const causes = { start: -1, host: -2 } as const;

/** One operation of one rank, as it went. */
export interface Happening {
  readonly flat: FlatOperation;
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
  readonly nodePending: Int32Array;
  readonly nodeLeft: Int32Array;
  readonly heads: Int32Array;
  readonly running: Uint8Array;
  /** When each lane's next attempt is foreseen, for an operation that the host has yet to issue. */
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
  const state: RankState = {
    flat,
    pending: Int32Array.from(flat.operations, (operation) => operation.pending),
    nodePending: Int32Array.from(flat.nodes, (node) => node.pending),
    nodeLeft: Int32Array.from(flat.nodes, (node) => node.count),
    heads: new Int32Array(lanes.length),
    running: new Uint8Array(lanes.length),
    attempts: new Float64Array(lanes.length).fill(-1),
    issuable: nextBlock(flat, 0),
    hostFree: 0,
    hostNext: 0,
    ended: 0,
    happenings: flat.operations.map(() => undefined),
  };
  // nodes without operations end as soon as what they wait for has ended; closing one closes empty ones behind it
  flat.nodes.forEach((node, index) => {
    if (node.count === 0 && node.pending === 0) closeNode(state, index);
  });
  return state;
}

/** A node has ended: counts it off for the nodes after it, and closes those of them that are empty. */
export function closeNode(state: RankState, node: number): void {
  for (const dependent of state.flat.nodes[node]?.dependents ?? []) {
    const pending = (state.nodePending[dependent] ?? 0) - 1;
    state.nodePending[dependent] = pending;
    if (pending === 0 && state.flat.nodes[dependent]?.count === 0) closeNode(state, dependent);
  }
}

/** One past the next operation, from `from` on, that keeps the host from issuing further. */
export function nextBlock(flat: FlatProgram, from: number): number {
  for (let index = from; index < flat.operations.length; index++) {
    if (flat.operations[index]?.blocksHost) return index + 1;
  }
  return flat.operations.length;
}
