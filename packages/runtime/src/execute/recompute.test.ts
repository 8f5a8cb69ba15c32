/**
 * Recomputation and accumulation on real ranks: whatever the forward keeps, gradients, losses and weights are the same
 * bit for bit.
 */
import { recomputeModules, type Recompute, type StepShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import {
  bits,
  casesOf,
  layoutOf,
  mixtral,
  olmoe,
  rankCase,
  run,
  strategyOf,
} from '../../testing/execute/rank-cases.js';

const ways: readonly Recompute[] = ['none', 'selective', 'full', ...recomputeModules.map((module) => [module])];
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 };

const sp = { sequenceParallel: true };
const groups = [
  [1, [{ layout: layoutOf({}) }, { layout: layoutOf({}), model: olmoe, capacityFactor: 0.75 }]],
  [
    2,
    [
      { layout: layoutOf({ tp: 2, ...sp }), model: olmoe },
      { layout: layoutOf({ dp: 2, ep: 2 }), microBatches: 3 },
    ],
  ],
  [
    4,
    [
      { layout: layoutOf({ tp: 2, dp: 2, ep: 2, ...sp }), microBatches: 2 },
      { layout: layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1 }), model: mixtral },
      { layout: layoutOf({ tp: 4 }), capacityFactor: 1 },
    ],
  ],
] as const satisfies readonly (readonly [number, readonly (Partial<StepShape> & Pick<StepShape, 'layout'>)[]])[];

describe.each(groups)('%i ranks', (ranks, shapes) => {
  it('compute the same bits whatever is kept, and keep less', async () => {
    const strategies = [strategyOf('sliced', 'sliced', 2, 3), strategyOf('duplicated', 'scattered', 1, 2)];
    const given = shapes.flatMap(({ layout, ...changes }) =>
      casesOf(layout, '', changes, { steps: 2, optimizer }, strategies),
    );
    const cases = given.flatMap((one) =>
      ways.map((recompute) => rankCase({ ...one, step: { ...one.step, recompute } })),
    );
    const results = await run(ranks, cases);
    expect(given.length).toBeGreaterThan(1);
    for (let first = 0; first < results.length; first += ways.length) {
      const [none, ...others] = results.slice(first, first + ways.length);
      for (const [place, other] of others.entries())
        expect({ way: ways[place + 1], ...bits(other) }).toEqual({ way: ways[place + 1], ...bits(none) });
      const peaks = Object.fromEntries(ways.map((way, place) => [String(way), results[first + place].peakBytes]));
      expect(peaks['full']).toBeLessThan(peaks['none']);
    }
  });
});
