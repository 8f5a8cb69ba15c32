import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finiteDifferences, randomArray, relativeError, seededRandom, weightedSum } from '../../testing/numbers.js';
import { addAuxiliaryStatistics, auxiliaryGradient, auxiliaryLoss } from './auxiliary-loss.js';
import { dropByProbability, expertCapacity } from './capacity.js';
import { routerBackward, routerSoftmax, routerTopK } from './router.js';
import type { RouterShape } from './router.js';
import { maxOf } from '@monta/core';

function route(shape: RouterShape, logits: Float32Array) {
  const probabilities = new Float32Array(shape.tokens * shape.experts).fill(NaN);
  const ids = new Int32Array(shape.tokens * shape.picks).fill(-1);
  const weights = new Float32Array(shape.tokens * shape.picks).fill(NaN);
  routerSoftmax(shape, logits, probabilities);
  routerTopK(shape, probabilities, ids, weights);
  return { probabilities, ids, weights };
}

const shapes = fc.record({
  tokens: fc.integer({ min: 0, max: 12 }),
  experts: fc.integer({ min: 1, max: 9 }),
  picks: fc.integer({ min: 1, max: 4 }),
  renormalise: fc.boolean(),
  seed: fc.integer(),
});

describe('router', () => {
  it('picks as a stable sort does, ties to the lowest expert, and weights sum to 1 when renormalised', () => {
    fc.assert(
      fc.property(shapes, fc.boolean(), ({ seed, ...given }, coarse) => {
        const shape = { ...given, picks: Math.min(given.picks, given.experts) };
        const { tokens, experts, picks } = shape;
        const logits = randomArray(tokens * experts, seededRandom(seed), 2).map((x) => (coarse ? Math.round(x) : x));
        const { probabilities, ids, weights } = route(shape, logits);
        for (let t = 0; t < tokens; t++) {
          const values = [...logits.subarray(t * experts, (t + 1) * experts)];
          const sum = values.reduce((total, value) => total + Math.exp(value), 0);
          const p = [...probabilities.subarray(t * experts, (t + 1) * experts)];
          p.forEach((value, e) => {
            expect(value).toBeCloseTo(Math.exp(values[e]) / sum, 6);
          });
          const order = p.map((_, e) => e).sort((a, b) => p[b] - p[a] || a - b);
          const chosen = order.slice(0, picks);
          expect([...ids.subarray(t * picks, (t + 1) * picks)]).toEqual(chosen);
          const total = shape.renormalise ? chosen.reduce((s, e) => s + p[e], 0) : 1;
          chosen.forEach((e, j) => {
            expect(weights[t * picks + j]).toBeCloseTo(p[e] / total, 6);
          });
        }
      }),
      { seed: 1 },
    );
  });

  it('is not upset by large logits', () => {
    const { weights } = route(
      { tokens: 1, experts: 3, picks: 2, renormalise: true },
      Float32Array.of(1000, -1000, 999),
    );
    expect(weights[0]).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
  });

  it.each([
    { renormalise: false, picks: 1 },
    { renormalise: true, picks: 1 },
    { renormalise: false, picks: 3 },
    { renormalise: true, picks: 3 },
  ])('has the gradient of its weights and of the auxiliary loss (finite differences): %o', (option) => {
    const random = seededRandom(7);
    const shape = { tokens: 5, experts: 6, ...option };
    const logits = randomArray(30, random);
    const dweights = randomArray(5 * option.picks, random);
    const counts = new Float32Array(6);
    const first = route(shape, logits);
    addAuxiliaryStatistics({
      shape,
      probabilities: first.probabilities,
      ids: first.ids,
      counts,
      probabilitySums: new Float32Array(6),
    });
    const coefficient = 0.7;
    const loss = (): number => {
      const { probabilities, ids, weights } = route(shape, logits);
      expect(ids).toEqual(first.ids); // the differences don't cross a change of picks
      const sums = new Float32Array(6);
      addAuxiliaryStatistics({ shape, probabilities, ids, counts: new Float32Array(6), probabilitySums: sums });
      return weightedSum(weights, dweights) + coefficient * auxiliaryLoss(counts, sums, 5);
    };
    const expected = finiteDifferences(logits, loss, 2 ** -10);
    const auxiliary = new Float32Array(6);
    auxiliaryGradient(counts, 5, coefficient, auxiliary);
    const dlogits = new Float32Array(30).fill(NaN);
    routerBackward({ shape, probabilities: first.probabilities, ids: first.ids, dweights, auxiliary, dlogits });
    expect(relativeError(dlogits, expected)).toBeLessThan(3e-3);
  });

  it('gets no gradient through a single renormalised pick, whose weight is always 1', () => {
    const random = seededRandom(8);
    const shape = { tokens: 5, experts: 6, picks: 1, renormalise: true };
    const { probabilities, ids, weights } = route(shape, randomArray(30, random));
    expect([...weights]).toEqual([1, 1, 1, 1, 1]);
    const dlogits = new Float32Array(30).fill(NaN);
    routerBackward({ shape, probabilities, ids, dweights: randomArray(5, random), auxiliary: undefined, dlogits });
    expect(maxOf(dlogits.map(Math.abs))).toBeLessThan(1e-6);
  });
});

describe('auxiliary loss', () => {
  it('is k when balanced, and pools layers and ranks before the product', () => {
    const shape = { tokens: 4, experts: 4, picks: 2, renormalise: true };
    const uniform = new Float32Array(16).fill(0.25);
    const balanced = Int32Array.of(0, 1, 2, 3, 1, 0, 3, 2);
    const counts = new Float32Array(4);
    const sums = new Float32Array(4);
    addAuxiliaryStatistics({ shape, probabilities: uniform, ids: balanced, counts, probabilitySums: sums });
    expect(auxiliaryLoss(counts, sums, 4)).toBeCloseTo(2, 6);

    // two parts that are each one-sided, on opposite sides: together nearly balanced
    const all = { tokens: 2, experts: 2, picks: 1, renormalise: false };
    const left = [Float32Array.of(0.9, 0.1, 0.9, 0.1), Int32Array.of(0, 0)] as const;
    const right = [Float32Array.of(0.1, 0.9, 0.1, 0.9), Int32Array.of(1, 1)] as const;
    const pooledCounts = new Float32Array(2);
    const pooledSums = new Float32Array(2);
    for (const [p, ids] of [left, right])
      addAuxiliaryStatistics({ shape: all, probabilities: p, ids, counts: pooledCounts, probabilitySums: pooledSums });
    expect(auxiliaryLoss(pooledCounts, pooledSums, 4)).toBeCloseTo(2 * (0.5 * 0.5 + 0.5 * 0.5), 6);
  });
});

describe('capacity', () => {
  it('rounds up', () => {
    expect(expertCapacity(1, 10, 2, 8)).toBe(3);
    expect(expertCapacity(1.25, 16, 2, 8)).toBe(5);
    expect(expertCapacity(1, 0, 2, 8)).toBe(0);
  });

  it('keeps of each expert the most probable picks, earlier ones among equals', () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 0, max: 4 }), fc.boolean(), ({ seed, ...given }, capacity, coarse) => {
        const shape = { ...given, picks: Math.min(given.picks, given.experts) };
        const { tokens, experts, picks } = shape;
        const logits = randomArray(tokens * experts, seededRandom(seed)).map((x) => (coarse ? Math.round(x) : x));
        const { probabilities, ids, weights } = route(shape, logits);
        const before = weights.slice();
        const kept = new Uint8Array(tokens * picks).fill(9);
        const dropped = dropByProbability({ shape, capacity, probabilities, ids, kept, weights });
        expect(dropped).toBe(kept.filter((k) => k === 0).length);
        const gate = (pick: number): number => probabilities[Math.floor(pick / picks) * experts + ids[pick]];
        kept.forEach((keep, pick) => {
          let better = 0;
          ids.forEach((expert, other) => {
            if (expert !== ids[pick] || other === pick) return;
            if (gate(other) > gate(pick) || (gate(other) === gate(pick) && other < pick)) better++;
          });
          expect(keep).toBe(better < capacity ? 1 : 0);
          expect(weights[pick]).toBe(keep === 1 ? before[pick] : 0);
        });
      }),
      { seed: 1 },
    );
  });
});
