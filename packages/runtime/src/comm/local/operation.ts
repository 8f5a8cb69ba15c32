/** One rank's submission as it travels from the rank's thread to the mover: an operation, or the definition of a name. */
import type { Reduction } from '../communicator.js';
import { elementBytes, type ElementType } from '../../device/view.js';
import { at } from './control.js';

const kinds = [
  'all_to_all',
  'all_gather',
  'reduce_scatter',
  'all_reduce',
  'broadcast',
  'send',
  'receive',
  'barrier',
] as const;
export type OperationKind = (typeof kinds)[number];
const types: readonly ElementType[] = ['f32', 'i32', 'bf16', 'f16', 'u8'];
const reductions: readonly Reduction[] = ['sum', 'max'];

/** A range of a rank's memory. */
export interface Extent {
  readonly byteOffset: number;
  readonly length: number;
}

export interface Operation {
  readonly kind: OperationKind;
  /** The submitting rank's number for the communicator. */
  readonly communicator: number;
  /** Place among the rank's collectives of the communicator, or among its messages to (from) `peer`. */
  readonly sequence: number;
  readonly event: number;
  /** The submitting rank's number for the label; 0 is the empty label. */
  readonly label: number;
  readonly type: ElementType;
  readonly reduction: Reduction;
  /** Place in the group: root of a broadcast, peer of a message; else 0. */
  readonly peer: number;
  /** What this rank gives; for operations in place, the buffer. */
  readonly send: Extent;
  readonly receive: Extent;
  readonly after: readonly number[];
  /** Elements per member; for all_to_all what this rank sends, else the blocks of all members. */
  readonly counts: Int32Array;
  /** Elements per member that this rank receives; all_to_all only. */
  readonly receiveCounts: Int32Array;
}

export type Submitted =
  | { readonly what: 'operation'; readonly operation: Operation }
  | { readonly what: 'label'; readonly id: number; readonly text: string }
  | {
      readonly what: 'communicator';
      readonly id: number;
      readonly name: string;
      readonly lane: string;
      readonly members: readonly number[];
    };

const whats = { operation: 0, label: 1, communicator: 2 } as const;
const fixedWords = 18;
const two32 = 2 ** 32;

export function encode(submitted: Submitted): Int32Array {
  switch (submitted.what) {
    case 'operation':
      return encodeOperation(submitted.operation);
    case 'label':
      return Int32Array.from([whats.label, submitted.id, ...codes(submitted.text)]);
    case 'communicator': {
      const { id, name, lane, members } = submitted;
      return Int32Array.from([
        whats.communicator,
        id,
        members.length,
        name.length,
        ...members,
        ...codes(name),
        ...codes(lane),
      ]);
    }
  }
}

export function decode(words: Int32Array): Submitted {
  const id = at(words, 1);
  switch (at(words, 0)) {
    case whats.operation:
      return { what: 'operation', operation: decodeOperation(words) };
    case whats.label:
      return { what: 'label', id, text: String.fromCharCode(...words.subarray(2)) };
    case whats.communicator: {
      const nameStart = 4 + at(words, 2);
      const laneStart = nameStart + at(words, 3);
      return {
        what: 'communicator',
        id,
        members: [...words.subarray(4, nameStart)],
        name: String.fromCharCode(...words.subarray(nameStart, laneStart)),
        lane: String.fromCharCode(...words.subarray(laneStart)),
      };
    }
    default:
      throw new Error(`a submission starts with ${at(words, 0)}, which means nothing`);
  }
}

function encodeOperation(operation: Operation): Int32Array {
  const { after, counts, receiveCounts, send, receive } = operation;
  const words = new Int32Array(fixedWords + after.length + counts.length + receiveCounts.length);
  words.set([
    whats.operation,
    kinds.indexOf(operation.kind),
    operation.communicator,
    operation.sequence,
    operation.event,
    operation.label,
    types.indexOf(operation.type),
    reductions.indexOf(operation.reduction),
    operation.peer,
    (send.byteOffset % two32) | 0,
    Math.floor(send.byteOffset / two32),
    send.length,
    (receive.byteOffset % two32) | 0,
    Math.floor(receive.byteOffset / two32),
    receive.length,
    after.length,
    counts.length,
    receiveCounts.length,
  ]);
  words.set(after, fixedWords);
  words.set(counts, fixedWords + after.length);
  words.set(receiveCounts, fixedWords + after.length + counts.length);
  return words;
}

function decodeOperation(words: Int32Array): Operation {
  const afterEnd = fixedWords + at(words, 15);
  const countsEnd = afterEnd + at(words, 16);
  const offset = (low: number): number => (at(words, low) >>> 0) + at(words, low + 1) * two32;
  return {
    kind: at(kinds, at(words, 1)),
    communicator: at(words, 2),
    sequence: at(words, 3),
    event: at(words, 4),
    label: at(words, 5),
    type: at(types, at(words, 6)),
    reduction: at(reductions, at(words, 7)),
    peer: at(words, 8),
    send: { byteOffset: offset(9), length: at(words, 11) },
    receive: { byteOffset: offset(12), length: at(words, 14) },
    after: [...words.subarray(fixedWords, afterEnd)],
    counts: words.subarray(afterEnd, countsEnd),
    receiveCounts: words.subarray(countsEnd),
  };
}

function codes(text: string): number[] {
  return Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
}

/** Bytes of a span of elements. */
export function bytesOf(type: ElementType, elements: number): number {
  return elements * elementBytes[type];
}
