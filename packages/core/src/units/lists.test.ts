import { describe, expect, it } from 'vitest';
import { appendAll, maxOf, minOf, removeFrom } from './lists.js';

describe('lists of any length', () => {
  const [lesser, greater] = [(a: number, b: number) => Math.min(a, b), (a: number, b: number) => Math.max(a, b)];
  const many = Float64Array.from({ length: 1_000_000 }, (_, index) => (index * 7919) % 1_000_003);

  it('have a largest and a smallest value, as Math.max and Math.min have', () => {
    const sorted = many.slice().sort();
    expect([minOf(many), maxOf(many)]).toEqual([sorted[0], sorted.at(-1)]);
    for (const few of [[], [3, -2], [1, NaN, 2], [-0, 0], [Infinity, 5]])
      expect([minOf(few), maxOf(new Set(few))]).toEqual([few.reduce(lesser, Infinity), few.reduce(greater, -Infinity)]);
  });

  it('are added to others', () => {
    const list = [1];
    appendAll(list, many);
    expect(list.length).toBe(1_000_001);
    expect(list.at(-1)).toBe(many.at(-1));
  });

  it('lose one value, and keep the order of the others', () => {
    for (const value of [1, 2, 3, 4]) {
      const list = [1, 2, 3];
      removeFrom(list, value);
      expect(list).toEqual([1, 2, 3].filter((one) => one !== value));
    }
    const none: number[] = [];
    removeFrom(none, 1);
    expect(none).toEqual([]);
  });
});
