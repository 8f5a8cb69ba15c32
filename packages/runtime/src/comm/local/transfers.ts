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
  const type = first.type;
  const parts: Part[] = [];
  const add = ({
    from,
    to,
    source,
    target,
    elements,
  }: {
    readonly from: number;
    readonly to: number;
    readonly source: number;
    readonly target: number;
    readonly elements: number;
  }): void => {
    if (elements > 0) parts.push({ from, to, source, target, bytes: bytesOf(type, elements) });
  };
  const members = operations.length;
  switch (first.kind) {
    case 'all_to_all': {
      const receiveStarts = operations.map((operation) => starts(operation.receiveCounts));
      for (const [from, operation] of operations.entries()) {
        const sendStarts = starts(operation.counts);
        for (let step = 0; step < members; step++) {
          const to = partner(from, step, members);
          const source = operation.send.byteOffset + bytesOf(type, at(sendStarts, to));
          const target = at(operations, to).receive.byteOffset + bytesOf(type, at(at(receiveStarts, to), from));
          add({ from, to, source, target, elements: at(operation.counts, to) });
        }
      }
      break;
    }
    case 'all_gather':
    case 'all_reduce': {
      const inPlace = first.kind === 'all_reduce';
      const counts = inPlace ? reductionBlocks(first.send.length, members) : first.counts;
      const blockStarts = starts(counts);
      for (const [from, operation] of operations.entries()) {
        const start = bytesOf(type, at(blockStarts, from));
        for (let step = 0; step < members; step++) {
          const to = partner(from, step, members);
          const source = operation.send.byteOffset + (inPlace ? start : 0);
          if (inPlace && to === from) continue;
          add({ from, to, source, target: at(operations, to).receive.byteOffset + start, elements: at(counts, from) });
        }
      }
      break;
    }
    case 'broadcast':
      for (const [to, operation] of operations.entries()) {
        if (to === first.peer) continue;
        add({
          from: first.peer,
          to,
          source: at(operations, first.peer).send.byteOffset,
          target: operation.receive.byteOffset,
          elements: first.send.length,
        });
      }
      break;
    case 'reduce_scatter':
    case 'barrier':
      break;
    case 'send':
    case 'receive': // of one pair: sender, then receiver
      add({
        from: 0,
        to: 1,
        source: first.send.byteOffset,
        target: at(operations, 1).receive.byteOffset,
        elements: first.send.length,
      });
      break;
  }
  return parts;
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
