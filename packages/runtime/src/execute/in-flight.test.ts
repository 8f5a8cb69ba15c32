/**
 * Micro-batches in flight, and reductions and other forwards beside or behind the backward, on real ranks: the same
 * bits, whatever the order of issue.
 */
import type { StepShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { bits, casesOf, layoutOf, olmoe, rankCase, run, strategyOf } from '../../testing/execute/rank-cases.js';

const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 };

const ways = [
  { inFlight: 1, reductions: 'beside' },
  { inFlight: 1, reductions: 'behind' },
  { inFlight: 2, reductions: 'beside' },
  { inFlight: 3, reductions: 'behind' },
  { inFlight: 5, reductions: 'beside' },
  { inFlight: 1, reductions: 'beside', passes: 'beside' },
  { inFlight: 2, reductions: 'behind', passes: 'beside' },
] as const;

/** Few bytes at a time, so that there are many reductions. */
const accumulating = { microBatches: 3, reductionBytes: 64 } as const;
const shapes: readonly (readonly [number, readonly (Partial<StepShape> & Pick<StepShape, 'layout'>)[]])[] = [
  [1, [{ layout: layoutOf({}), model: olmoe }]],
  [2, [{ layout: layoutOf({ dp: 2, ep: 2 }) }, { layout: layoutOf({ dp: 2 }) }]],
  [4, [{ layout: layoutOf({ tp: 2, dp: 2, ep: 2, sequenceParallel: true }), model: olmoe, recompute: 'selective' }]],
];

describe.each(shapes)('%i ranks', (ranks, of) => {
  it('compute the same bits with several micro-batches in flight, and wherever gradients are reduced', async () => {
    const given = of.flatMap(({ layout, ...changes }) =>
      casesOf(layout, '', { ...accumulating, ...changes }, { steps: 2, optimizer }, [
        strategyOf('sliced', 'scattered', 2, 3),
      ]),
    );
    const results = await run(
      ranks,
      given.flatMap((one) => ways.map((way) => rankCase({ ...one, step: { ...one.step, ...way } }))),
    );
    for (let first = 0; first < results.length; first += ways.length) {
      const [usual, ...others] = results.slice(first, first + ways.length);
      for (const [place, other] of others.entries())
        expect({ way: ways[place + 1], ...bits(other) }).toEqual({ way: ways[place + 1], ...bits(usual) });
      // Whatever waits for its backward is kept.
      const peak = (wanted: number): number =>
        results[first + ways.findIndex(({ inFlight }) => inFlight === wanted)].peakBytes;
      expect(peak(2)).toBeGreaterThan(peak(1));
      expect(peak(3)).toBeGreaterThan(peak(2));
    }
  });
});
