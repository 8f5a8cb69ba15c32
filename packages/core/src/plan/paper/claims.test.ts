import { describe, expect, it } from 'vitest';
import { centralAssumptions, speedUps, stepGain } from './claims.js';

const gibi = 2 ** 30;

describe("the paper's claims, simulated", () => {
  it('slicing makes the AllToAll alone TP = 8 times shorter where the network binds, and the dispatch less so', () => {
    for (const { nics, allToAll, dispatchSerial, dispatchChunked, both } of speedUps([gibi])) {
      // With 8 NICs the two exchanges are near to each other's bounds inside the node.
      if (nics < 8) expect(allToAll).toBeCloseTo(8, 0);
      expect(dispatchSerial).toBeLessThan(allToAll);
      expect(dispatchChunked).toBeGreaterThanOrEqual(dispatchSerial);
      expect(both).toBeGreaterThan(1);
    }
  });

  it('a step gains, and more so over fewer NICs', () => {
    const small = { ...centralAssumptions, layers: 4 };
    const gain = (nics: number): number => {
      const { duplicated, sliced, chosen } = stepGain({ ...small, nics });
      expect(chosen).toBeLessThanOrEqual(sliced);
      return duplicated / chosen;
    };
    expect(gain(4)).toBeGreaterThan(1);
    expect(gain(1)).toBeGreaterThan(gain(4));
  });
});
