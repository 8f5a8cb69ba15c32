import { describe, expect, it } from 'vitest';
import { countingSort, Random } from './index.js';

describe('countingSort', () => {
  it('orders as a stable sort does, without what is not kept', () => {
    const random = new Random(7);
    for (let round = 0; round < 50; round++) {
      const bins = 1 + random.integer(9);
      const keys = Int32Array.from({ length: random.integer(40) }, () => random.integer(bins + 1) - 1);
      const kept = round % 2 === 0 ? undefined : Uint8Array.from(keys, () => random.integer(2));
      const expected = [...keys.keys()]
        .filter((place) => keys[place] >= 0 && (kept === undefined || kept[place] === 1))
        .sort((a, b) => keys[a] - keys[b]);
      const { starts, order } = countingSort(keys, bins, kept);
      expect([...order]).toEqual(expected);
      for (let bin = 0; bin < bins; bin++)
        expect([...order.subarray(starts[bin], starts[bin + 1])].every((place) => keys[place] === bin)).toBe(true);
      expect(starts[bins]).toBe(expected.length);
    }
  });
});
