/** Moves bytes as fast as one core copies: every operation is done as soon as it is ready. */
import { reduceBlocks, copyBytes, type Bytes } from '../../device/cpu/bytes.js';
import { at } from '../at.js';
import type { Engine } from './engine.js';
import { bytesOf } from '../operation.js';
import type { Party } from '../party.js';
import type { ReadyOperation } from './matching.js';
import { finalParts, reducedBlockOffset, reductionPlan } from './transfers.js';
import { appendAll } from '@monta/core/units';

export class MemoryEngine implements Engine {
  private ended: Party[] = [];

  /** `memories` by global rank. */
  constructor(private readonly memories: readonly Bytes[]) {}

  get busy(): boolean {
    return this.ended.length > 0;
  }

  start({ parties }: ReadyOperation): void {
    const operations = parties.map((party) => party.operation);
    const memories = partyMemories(parties, this.memories);
    const first = at(operations, 0);
    const plan = reductionPlan(operations);
    if (plan === undefined) {
      for (const part of finalParts(operations)) {
        copyBytes({
          source: at(memories, part.from),
          from: part.source,
          target: at(memories, part.to),
          to: part.target,
          bytes: part.bytes,
        });
      }
    } else {
      for (const [to, count] of plan.counts.entries()) {
        const start = bytesOf(first.type, at(plan.starts, to));
        const contributions = operations.map((operation, from) => ({
          memory: at(memories, from),
          byteOffset: operation.send.byteOffset + start,
        }));
        const receivers = first.kind === 'all_reduce' ? parties.map((_, place) => place) : [to];
        const targets = receivers.map((place) => ({
          memory: at(memories, place),
          byteOffset: reducedBlockOffset(at(operations, place), plan, to),
        }));
        reduceBlocks({ type: first.type, reduction: first.reduction, elements: count, contributions, targets });
      }
    }
    appendAll(this.ended, parties);
  }

  advance(): Party[] {
    const ended = this.ended;
    this.ended = [];
    return ended;
  }

  nextWake(): number {
    return this.ended.length > 0 ? 0 : Infinity;
  }
}

/** The memories of an operation's parties, with views that reach all their buffers. */
export function partyMemories(parties: readonly Party[], memories: readonly Bytes[]): Bytes[] {
  return parties.map(({ rank, operation }) => {
    const memory = at(memories, rank);
    for (const { byteOffset, length } of [operation.send, operation.receive]) {
      memory.cover(byteOffset + bytesOf(operation.type, length));
    }
    return memory;
  });
}
