import { describe, expect, it } from 'vitest';
import { centralAssumptions, speedUp, stepGain } from './claims.js';

describe("the paper's claims, simulated", () => {
  it('slicing makes the AllToAll alone TP = 8 times shorter where the network binds, and the dispatch less so', () => {
    const { allToAll, dispatchSerial, dispatchChunked, both } = speedUp(1, 2 ** 30);
    expect(allToAll).toBeCloseTo(8, 0);
    expect(dispatchSerial).toBeLessThan(allToAll);
    expect(dispatchChunked).toBeGreaterThanOrEqual(dispatchSerial);
    expect(both).toBeGreaterThan(1);
  });

  it('a step of one layer gains, and none of what it is compared to is faster than the choice', () => {
    const { duplicated, sliced, chosen } = stepGain({ ...centralAssumptions, layers: 1, nics: 1 });
    expect(chosen).toBeLessThanOrEqual(sliced);
    expect(sliced).toBeLessThan(duplicated);
  });
});
