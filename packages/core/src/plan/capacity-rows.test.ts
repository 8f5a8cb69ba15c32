/** Rows under capacity: what storage and memory allow for against what skewed routing sends. */
import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/resolve.js';
import { worldSize } from '../layout/mesh.js';
import { whole } from '../routing/group-routing.js';
import {
  expertSize,
  receivedSize,
  replicaSize,
  sentSize,
  usualNumerics,
  type MoeShape,
} from '../schedule/moe-shape.js';
import { maxOf } from '../units/index.js';
import { routedBinding } from './workload.js';

const layouts = [
  { tp: 1, dp: 8, ep: 8 },
  { tp: 2, dp: 4, ep: 4 },
  { tp: 4, dp: 2, ep: 2, etp: 1 },
  { tp: 2, dp: 4, ep: 4, etp: 1 },
  { tp: 4, dp: 2, ep: 4, etp: 2 },
].map((degrees) => resolveLayout(degrees));
const factors = [0.25, 1, 1.5, 4, undefined];

describe('rows under capacity', () => {
  it.each(layouts.flatMap((layout) => factors.map((factor) => [layout, factor] as const)))(
    'are never more than the most, however skewed: %j, factor %s',
    (layout, capacityFactor) => {
      const shape: MoeShape = {
        tokens: 60,
        hiddenSize: 8,
        expertFfn: 8,
        experts: 16,
        topK: 2,
        layout,
        dtype: 'bf16',
        numerics: usualNumerics,
        ...(capacityFactor === undefined ? {} : { capacityFactor }),
      };
      const sizes = [sentSize(shape), receivedSize(shape), expertSize(shape)];
      if (layout.etp * layout.ep >= layout.tp) sizes.push(replicaSize(shape));
      for (const seed of [1, 2, 3]) {
        const binding = routedBinding(shape, { kind: 'zipf', exponent: 3 }, seed);
        for (const size of sizes) {
          if (typeof size === 'number') continue;
          const rows = Array.from({ length: worldSize(layout) }, (_, rank) => binding.rows(size.rule, rank, 0, whole));
          expect({ rule: size.rule.name, within: Math.max(maxOf(rows), size.expected) <= size.max }).toEqual({
            rule: size.rule.name,
            within: true,
          });
        }
      }
    },
  );

  it('reach the most where one expert is all that is picked', () => {
    const layout = resolveLayout({ dp: 4, ep: 4 });
    const shape = { tokens: 64, hiddenSize: 8, expertFfn: 8, experts: 4, topK: 1, layout, dtype: 'bf16' } as const;
    const size = expertSize({ ...shape, numerics: usualNumerics, capacityFactor: 1.5 });
    if (typeof size === 'number') throw new Error('fixed');
    // Four replicas of 64 tokens, of each 1.5 times its share of a quarter.
    expect(size.max).toBe(4 * 24);
  });
});
