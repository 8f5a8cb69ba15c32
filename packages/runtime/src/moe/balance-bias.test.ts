import { maxOf, Random } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { balanceBias } from './balance-bias.js';
import { addPicks, selectExperts } from './index.js';

describe('balanceBias', () => {
  it('moves the overloaded down, the underloaded up, and leaves those at the mean', () => {
    const bias = Float32Array.of(0.5, -0.25, 0, 1);
    balanceBias(bias, Float32Array.of(7, 1, 4, 4), 0.125);
    expect([...bias]).toEqual([0.375, -0.125, 0, 1]);
    // Nothing was picked: nothing is overloaded.
    balanceBias(bias, new Float32Array(4), 0.125);
    expect([...bias]).toEqual([0.375, -0.125, 0, 1]);
  });

  it('takes the mean exactly where it is no whole number', () => {
    const bias = new Float32Array(3);
    balanceBias(bias, Float32Array.of(3, 3, 4), 1);
    expect([...bias]).toEqual([1, 1, -1]);
  });

  it('evens out a router that favours some experts', () => {
    const [tokens, experts, picks] = [256, 16, 4];
    const random = new Random(1);
    const favour = Array.from({ length: experts }, () => 0.15 * random.normal());
    const bias = new Float32Array(experts);
    const load = (): Float32Array => {
      const scores = Float32Array.from(
        { length: tokens * experts },
        (_, i) => 1 / (1 + Math.exp(-favour[i % experts] - 0.3 * random.normal())),
      );
      const [ids, weights] = [new Int32Array(tokens * picks), new Float32Array(tokens * picks)];
      const shape = { tokens, experts, picks, renormalise: true };
      selectExperts({ shape, selection: { scoring: 'sigmoid', scaling: 1 }, scores, bias, ids, weights });
      const counts = new Float32Array(experts);
      addPicks(ids, counts);
      return counts;
    };
    const skew = (): number => (maxOf([...load()]) * experts) / (tokens * picks);
    const before = skew();
    for (let step = 0; step < 60; step++) balanceBias(bias, load(), 3e-3);
    expect(before).toBeGreaterThan(1.6);
    expect(skew()).toBeLessThan(1.25);
  });
});
