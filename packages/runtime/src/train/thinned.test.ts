import { describe, expect, it } from 'vitest';
import { Thinned } from './thinned.js';

const added = (count: number, most: number): Thinned<number> => {
  const thinned = new Thinned<number>(most);
  for (let number = 0; number < count; number++) thinned.add(number);
  return thinned;
};

describe('a list that stays short', () => {
  it('leaves nothing out while it is short', () => {
    for (const count of [0, 1, 2, 15, 16])
      expect(added(count, 16).list()).toEqual(Array.from({ length: count }, (_, i) => i));
  });

  it('keeps the first, the last, and what lies evenly between them', () => {
    for (let count = 17; count < 600; count++) {
      const thinned = added(count, 16);
      const list = thinned.list();
      expect(thinned.added).toBe(count);
      expect(list.length).toBeGreaterThan(8);
      expect(list.length).toBeLessThanOrEqual(17);
      expect([list[0], list.at(-1)]).toEqual([0, count - 1]);
      const gaps = list.slice(1).map((value, i) => value - list[i]);
      const [gap] = gaps;
      expect(gaps.slice(0, -1).every((one) => one === gap)).toBe(true);
      expect(gaps.at(-1)).toBeLessThanOrEqual(gap);
    }
  });
});
