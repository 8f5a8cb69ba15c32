import type { MeasuredOp } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { checkOf, countWrong } from './collective-check.js';

const ops: readonly MeasuredOp[] = ['all_to_all', 'all_gather', 'reduce_scatter', 'all_reduce', 'broadcast'];

/** What MPI's standard says that each collective leaves on a place, from what all places held. */
function carriedOut(op: MeasuredOp, given: readonly Float32Array[], place: number): number[] {
  const size = given.length;
  const total = given[0]?.length ?? 0;
  const share = total / size;
  const block = (of: number, index: number): number[] =>
    [...(given[of] ?? [])].slice(index * share, (index + 1) * share);
  const sums = Array.from({ length: total }, (_, j) => given.reduce((sum, one) => sum + (one[j] ?? 0), 0));
  switch (op) {
    case 'all_to_all':
      return given.flatMap((_, from) => block(from, place));
    case 'all_gather':
      return given.flatMap((_, from) => block(from, 0));
    case 'reduce_scatter':
      return sums.slice(place * share, (place + 1) * share);
    case 'all_reduce':
      return sums;
    case 'broadcast':
    case 'send':
      return [...(given[0] ?? [])];
  }
}

describe('the check of a collective', () => {
  it.each(ops)('finds nothing in what %s leaves, and every element that is another', (op) => {
    for (const size of [2, 3, 4]) {
      const total = 12 * size;
      const checks = Array.from({ length: size }, (_, place) => checkOf(op, { place, size, total }));
      checks.forEach((check, place) => {
        const result = Float32Array.from(
          carriedOut(
            op,
            checks.map(({ given }) => given),
            place,
          ),
        );
        const read = (start: number, length: number): Float32Array => result.slice(start, start + length);
        expect(result).toHaveLength(check.length);
        expect(countWrong(check, read)).toBe(0);
        result[place] = (result[place] ?? 0) + 1;
        result[result.length - 1] = NaN;
        expect(countWrong(check, read)).toBe(2);
      });
    }
  });

  it('tells blocks that came from another member or another place apart', () => {
    const [first, second] = [0, 1].map((place) => checkOf('all_to_all', { place, size: 2, total: 64 }));
    const result = Float32Array.from({ length: 64 }, (_, element) => second?.expected(element) ?? 0);
    expect(first === undefined ? 0 : countWrong(first, (start, length) => result.slice(start, start + length))).toBe(
      64,
    );
  });

  it('looks at both ends of what is too long to be looked at as a whole', () => {
    const length = 2 ** 22 + 2;
    const runs: { readonly start: number; readonly count: number }[] = [];
    const check = { given: new Float32Array(0), inPlace: false, length, expected: () => 0 };
    const wrong = countWrong(check, (start, count) => {
      runs.push({ start, count });
      return new Float32Array(count).fill(1, 0, 1);
    });
    expect(runs.at(0)?.start).toBe(0);
    expect(runs.at(-1)?.start).toBe(length - (runs.at(-1)?.count ?? 0));
    expect(wrong).toBe(runs.length);
  });
});
