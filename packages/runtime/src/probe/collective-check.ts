/** What a collective must leave, of known numbers: small whole ones, whose sums are exact in float32 in any order. */
import type { MeasuredOp } from '@monta/core';

export interface CollectivePlace {
  /** Of the rank in its group, and the group's ranks. */
  readonly place: number;
  readonly size: number;
  /** Elements of the total buffer, as nccl-tests counts it. */
  readonly total: number;
}

export interface CollectiveCheck {
  /** What the rank's buffer holds before. */
  readonly given: Float32Array;
  /** Whether the result lies in that buffer. */
  readonly inPlace: boolean;
  /** Elements of the result, and each of them. */
  readonly length: number;
  readonly expected: (element: number) => number;
}

/** Looked at in a result that is longer: so many elements, in runs spread over it. */
const [looked, runs] = [2 ** 20, 16];
/** Larger sums than this many ranks make are not exact. */
const numbers = 97;

/** Element j of the buffer of the member at a place. */
const numberAt = (place: number, element: number): number => 1 + ((31 * place + element) % numbers);

/** Before and after `op` at a place of a group. */
export function checkOf(op: MeasuredOp, { place, size, total }: CollectivePlace): CollectiveCheck {
  const share = total / size;
  const given = new Float32Array(total);
  for (let element = 0; element < total; element++) given[element] = numberAt(place, element);
  const sumAt = (element: number): number => {
    let sum = 0;
    for (let member = 0; member < size; member++) sum += numberAt(member, element);
    return sum;
  };
  const memberOf = (element: number): number => Math.floor(element / share);
  switch (op) {
    case 'all_to_all':
      return {
        given,
        inPlace: false,
        length: total,
        expected: (element) => numberAt(memberOf(element), place * share + (element % share)),
      };
    case 'all_gather':
      return {
        given,
        inPlace: false,
        length: total,
        expected: (element) => numberAt(memberOf(element), element % share),
      };
    case 'reduce_scatter':
      return { given, inPlace: false, length: share, expected: (element) => sumAt(place * share + element) };
    case 'all_reduce':
      return { given, inPlace: true, length: total, expected: sumAt };
    case 'broadcast':
    case 'send':
      return { given, inPlace: true, length: total, expected: (element) => numberAt(0, element) };
  }
}

/** Elements that are not what they must be, of those that are looked at; `read` gives a run of the result. */
export function countWrong(
  { length, expected }: CollectiveCheck,
  read: (start: number, length: number) => Float32Array,
): number {
  const run = Math.min(length, looked / runs);
  const starts =
    length <= looked
      ? [[0, length] as const]
      : Array.from({ length: runs }, (_, at) => [Math.floor((at * (length - run)) / (runs - 1)), run] as const);
  return starts.reduce(
    (sum, [start, count]) =>
      sum + read(start, count).reduce((wrong, value, at) => wrong + (value === expected(start + at) ? 0 : 1), 0),
    0,
  );
}
