/**
 * What a rank tells each peer of an operation before its bytes: enough to find a disagreement, and when it got there. A header is as
 * long as its communicator's largest, so that receives can be posted before anything is known.
 */
import { findMismatch } from '../local/mismatch.js';
import type { Party } from '../local/matching.js';
import { decode, encode, type Operation } from '../local/operation.js';
import { at } from '../local/control.js';

const labelBytes = 96;
/** issued (float64), words of the operation, bytes of the label. */
const prefixBytes = 16;
/** Fixed words of an encoded operation; see `operation.ts`. */
const operationWords = 18;

export function headerBytes(members: number): number {
  return prefixBytes + 4 * (operationWords + Math.max(2, members)) + labelBytes;
}

/** Writes this rank's side as `peer` (a place) needs to know it. */
export function writeHeader(into: Uint8Array, party: Party, peer: number): void {
  const { operation, label, issued } = party;
  const exchange = operation.kind === 'all_to_all';
  const words = encode({
    what: 'operation',
    operation: {
      ...operation,
      after: [],
      counts: exchange ? Int32Array.of(at(operation.counts, peer)) : operation.counts,
      receiveCounts: exchange ? Int32Array.of(at(operation.receiveCounts, peer)) : operation.receiveCounts,
    },
  });
  const text = new TextEncoder().encode(label).subarray(0, labelBytes);
  const prefix = new DataView(into.buffer, into.byteOffset, prefixBytes);
  prefix.setFloat64(0, issued, true);
  prefix.setInt32(8, words.length, true);
  prefix.setInt32(12, text.length, true);
  into.set(new Uint8Array(words.buffer), prefixBytes);
  into.set(text, prefixBytes + words.byteLength);
}

/** Reads what the member at `place` (global rank `rank`) wrote for the member at place `me` of a group of `members`. */
export function readHeader(from: Uint8Array, rank: number, place: number, me: number, members: number): Party {
  const prefix = new DataView(from.buffer, from.byteOffset, prefixBytes);
  const words = new Int32Array(prefix.getInt32(8, true));
  const end = prefixBytes + words.byteLength;
  new Uint8Array(words.buffer).set(from.subarray(prefixBytes, end));
  const label = new TextDecoder().decode(from.slice(end, end + prefix.getInt32(12, true)));
  const submitted = decode(words);
  if (submitted.what !== 'operation') throw new Error('a header holds no operation');
  return {
    rank,
    place,
    label,
    issued: prefix.getFloat64(0, true),
    operation: spread(submitted.operation, me, members),
  };
}

/** An exchange's header carries one count each way: put them where the pair looks. */
function spread(operation: Operation, me: number, members: number): Operation {
  if (operation.kind !== 'all_to_all') return operation;
  const one = (counts: Int32Array): Int32Array => {
    const all = new Int32Array(members);
    all[me] = at(counts, 0);
    return all;
  };
  return { ...operation, counts: one(operation.counts), receiveCounts: one(operation.receiveCounts) };
}

/** A sentence that names both sides when they disagree. */
export function disagreement(mine: Party, theirs: Party, communicator: string): string | undefined {
  const difference = findMismatch(mine, theirs);
  if (difference === undefined) return undefined;
  return `mismatch on communicator ${communicator}, operation ${mine.operation.sequence}: ${difference} (${sideOf(theirs)}; ${sideOf(mine)})`;
}

export function describeOperation({ operation, label }: Party, communicator: string): string {
  const named = label === '' ? '' : ` "${label}"`;
  return `${operation.kind}${named} (operation ${operation.sequence} of communicator ${communicator})`;
}

function sideOf({ rank, operation, label }: Party): string {
  return `rank ${rank}: ${operation.kind}${label === '' ? '' : ` "${label}"`}`;
}
