/**
 * One rank's submission as it travels from the rank's thread to the mover: an operation, or the definition of a name.
 */
import { at } from '../at.js';
import type { Operation } from '../operation.js';
import { decodeOperation, encodeOperation } from '../operation-words.js';

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

export function encode(submitted: Submitted): Int32Array {
  switch (submitted.what) {
    case 'operation': {
      const words = encodeOperation(submitted.operation, 1);
      words[0] = whats.operation;
      return words;
    }
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

const textOf = (codes: Int32Array): string => Array.from(codes, (code) => String.fromCharCode(code)).join('');

export function decode(words: Int32Array): Submitted {
  const id = at(words, 1);
  switch (at(words, 0)) {
    case whats.operation:
      return { what: 'operation', operation: decodeOperation(words.subarray(1)) };
    case whats.label:
      return { what: 'label', id, text: textOf(words.subarray(2)) };
    case whats.communicator: {
      const nameStart = 4 + at(words, 2);
      const laneStart = nameStart + at(words, 3);
      return {
        what: 'communicator',
        id,
        members: [...words.subarray(4, nameStart)],
        name: textOf(words.subarray(nameStart, laneStart)),
        lane: textOf(words.subarray(laneStart)),
      };
    }
    default:
      throw new Error(`a submission starts with ${at(words, 0)}, which means nothing`);
  }
}

function codes(text: string): number[] {
  return Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
}
