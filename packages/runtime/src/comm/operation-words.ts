/** An operation as 32-bit words: how it travels to the mover's thread, and in the headers of messages. */
import type { Reduction } from './communicator.js';
import type { ElementType } from '../device/view.js';
import { at } from './at.js';
import { operationKinds, type Operation } from './operation.js';

const types: readonly ElementType[] = ['f32', 'i32', 'bf16', 'f16', 'u8'];
const reductions: readonly Reduction[] = ['sum', 'max'];

/** Words before the lists (`after`, counts) of an operation. */
export const fixedWords = 17;
const two32 = 2 ** 32;

/** `leading` words in front are left to the caller. */
export function encodeOperation(operation: Operation, leading = 0): Int32Array {
  const { after, counts, receiveCounts, send, receive } = operation;
  const words = new Int32Array(leading + fixedWords + after.length + counts.length + receiveCounts.length);
  words.set(
    [
      operationKinds.indexOf(operation.kind),
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
    ],
    leading,
  );
  const lists = leading + fixedWords;
  words.set(after, lists);
  words.set(counts, lists + after.length);
  words.set(receiveCounts, lists + after.length + counts.length);
  return words;
}

/** Reads what `encodeOperation` wrote without leading words; counts share the words. */
export function decodeOperation(words: Int32Array): Operation {
  const afterEnd = fixedWords + at(words, 14);
  const countsEnd = afterEnd + at(words, 15);
  const offset = (low: number): number => (at(words, low) >>> 0) + at(words, low + 1) * two32;
  return {
    kind: at(operationKinds, at(words, 0)),
    communicator: at(words, 1),
    sequence: at(words, 2),
    event: at(words, 3),
    label: at(words, 4),
    type: at(types, at(words, 5)),
    reduction: at(reductions, at(words, 6)),
    peer: at(words, 7),
    send: { byteOffset: offset(8), length: at(words, 10) },
    receive: { byteOffset: offset(11), length: at(words, 13) },
    after: [...words.subarray(fixedWords, afterEnd)],
    counts: words.subarray(afterEnd, countsEnd),
    receiveCounts: words.subarray(countsEnd),
  };
}
