/** What bytes an operation moves: its parts between pairs of members, computed from what all members submitted. */
import { at } from '../at.js';
import { reductionBlocks, starts } from '../blocks.js';
import { bytesOf, type Operation } from '../operation.js';

/** One contiguous run of bytes from one member to another (places in the group). */
export interface Part {
  readonly from: number;
  readonly to: number;
  /** In the memory of `from`. */
  readonly source: number;
  /** In the memory of `to`, or in its staging. */
  readonly target: number;
  readonly bytes: number;
}

/**
 * The member that `from` turns to in step `step`. In every step members pair up, so that no member is the target of
 * many; neighbours turn to different members of any other run of members (a node) too, which keeps ports that they
 * share evenly used.
 */
export function partner(from: number, step: number, members: number): number {
  return (step + members - from) % members;
}

/** Moves that end the operation (or, after a reduction, spread its results). Parts of 0 bytes are left out. */
export function finalParts(operations: readonly Operation[]): Part[] {
  const first = at(operations, 0);
  const moves = movesOf[first.kind](operations);
  return moves.flatMap(({ elements, ...place }) =>
    elements > 0 ? [{ ...place, bytes: bytesOf(first.type, elements) }] : [],
  );
}

interface Move extends Omit<Part, 'bytes'> {
  readonly elements: number;
}

const movesOf: Readonly<Record<Operation['kind'], (operations: readonly Operation[]) => Move[]>> = {
  all_to_all: exchangeMoves,
  all_gather: (operations) => {
    const { counts } = at(operations, 0);
    return spreadMoves(operations, counts, (from) => at(operations, from).send.byteOffset);
  },
  all_reduce: (operations) => {
    const { send, type } = at(operations, 0);
    const counts = reductionBlocks(send.length, operations.length);
    const own = starts(counts);
    const moves = spreadMoves(
      operations,
      counts,
      (from) => at(operations, from).send.byteOffset + bytesOf(type, at(own, from)),
    );
    return moves.filter(({ from, to }) => from !== to);
  },
  broadcast: (operations) => {
    const { peer, send } = at(operations, 0);
    const source = at(operations, peer).send.byteOffset;
    return operations.flatMap(({ receive }, to) =>
      to === peer ? [] : [{ from: peer, to, source, target: receive.byteOffset, elements: send.length }],
    );
  },
  reduce_scatter: () => [],
  barrier: () => [],
  send: pairMoves,
  receive: pairMoves,
};

/** Every member's block for every other. */
function exchangeMoves(operations: readonly Operation[]): Move[] {
  const { type } = at(operations, 0);
  const receiveStarts = operations.map((operation) => starts(operation.receiveCounts));
  return operations.flatMap((operation, from) => {
    const sendStarts = starts(operation.counts);
    return operations.map((_, step): Move => {
      const to = partner(from, step, operations.length);
      return {
        from,
        to,
        source: operation.send.byteOffset + bytesOf(type, at(sendStarts, to)),
        target: at(operations, to).receive.byteOffset + bytesOf(type, at(at(receiveStarts, to), from)),
        elements: at(operation.counts, to),
      };
    });
  });
}

/** Every member's block to all. */
function spreadMoves(operations: readonly Operation[], counts: Int32Array, sourceOf: (from: number) => number): Move[] {
  const { type } = at(operations, 0);
  const blockStarts = starts(counts);
  return operations.flatMap((_, from) =>
    operations.map((__, step): Move => {
      const to = partner(from, step, operations.length);
      return {
        from,
        to,
        source: sourceOf(from),
        target: at(operations, to).receive.byteOffset + bytesOf(type, at(blockStarts, from)),
        elements: at(counts, from),
      };
    }),
  );
}

/** Of one pair: sender, then receiver. */
function pairMoves(operations: readonly Operation[]): Move[] {
  const [{ send }, { receive }] = [at(operations, 0), at(operations, 1)];
  return [{ from: 0, to: 1, source: send.byteOffset, target: receive.byteOffset, elements: send.length }];
}

/**
 * The blocks that a reduction adds up: how many elements each member reduces, and where they start in every
 * contribution.
 */
export interface ReductionPlan {
  readonly counts: Int32Array;
  readonly starts: Int32Array;
}

/** Undefined for operations that reduce nothing. */
export function reductionPlan(operations: readonly Operation[]): ReductionPlan | undefined {
  const first = at(operations, 0);
  if (first.kind !== 'reduce_scatter' && first.kind !== 'all_reduce') return undefined;
  const counts = first.kind === 'reduce_scatter' ? first.counts : reductionBlocks(first.send.length, operations.length);
  return { counts, starts: starts(counts) };
}

/** Where member `to` puts the block that it reduced. */
export function reducedBlockOffset(operation: Operation, plan: ReductionPlan, to: number): number {
  const within = operation.kind === 'all_reduce' ? bytesOf(operation.type, at(plan.starts, to)) : 0;
  return operation.receive.byteOffset + within;
}

/** Bytes that a member sends to others in the whole of the operation. */
export function bytesSent(operations: readonly Operation[], member: number): number {
  const first = at(operations, 0);
  let bytes = 0;
  for (const part of finalParts(operations)) {
    if (part.from === member && part.to !== member) bytes += part.bytes;
  }
  const plan = reductionPlan(operations);
  if (plan !== undefined) {
    for (const [to, count] of plan.counts.entries()) if (to !== member) bytes += bytesOf(first.type, count);
  }
  return bytes;
}
