import { describe, expect, it } from 'vitest';
import { appendAll, maxOf, minOf } from './lists.js';

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
});
