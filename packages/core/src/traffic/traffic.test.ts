import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { GroupRouting } from '../routing/group-routing.js';
import { RoutingBinding } from '../schedule/routing-binding.js';
import { dispatchProgram } from '../schedule/dispatch-only.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { moeLayerProgram } from '../schedule/step.js';
import { allStrategies, layoutOf } from '../../testing/strategies.js';
import { Random } from '../units/random.js';
import { traffic } from './traffic.js';

const cluster = getCluster('a800-2x8');
const shape: MoeShape = {
  tokens: 64,
  hiddenSize: 32,
  expertFfn: 32,
  experts: 16,
  topK: 2,
  layout: layoutOf({ tp: 8, dp: 2, ep: 2 }),
  dtype: 'bf16',
};

describe('traffic', () => {
  it('of random counts is what a brute force over rows finds', () => {
    const random = new Random(5);
    const { layout, experts } = shape;
    const counts = Int32Array.from({ length: 16 * experts }, () => random.integer(7));
    const binding = new RoutingBinding(layout, () => new GroupRouting(shape, counts));
    const strategy = { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 3, backward: 1 } } as const;
    const program = dispatchProgram(shape, strategy, ['forward']);
    const counted = traffic({ program, layout, cluster, binding });
    const rowBytes = shape.hiddenSize * 2;
    // Row by row: source slice s = rank; expert e lives on EP index floor(e / 8); equal etp index receives it.
    let network = 0;
    let gathered = 0;
    for (let source = 0; source < 16; source++)
      for (let expert = 0; expert < experts; expert++) {
        const rows = counts[source * experts + expert] ?? 0;
        const owner = Math.floor(expert / 8);
        if (owner !== Math.floor(source / 8)) network += rows * rowBytes;
        gathered += 7 * rows * rowBytes;
      }
    const byName = (prefix: string, tier: number): number =>
      counted.operations
        .filter(({ operation }) => operation.startsWith(`dispatch.forward/${prefix}.`))
        .reduce((sum, { byTier }) => sum + (byTier[tier] ?? 0), 0);
    expect(byName('all_to_all', 1)).toBe(network);
    expect(byName('return', 1)).toBe(network);
    expect(byName('all_gather', 0)).toBe(gathered);
    expect(byName('reduce_scatter', 0)).toBe(gathered);
    expect(byName('all_to_all', 0)).toBe(0);
  });

  it('conserves bytes: what ranks send is what leaves and enters ports', () => {
    for (const { layout, strategy } of allStrategies([1, 2], [2])) {
      const placed = { ...shape, layout };
      const counts = new Int32Array(layout.etp * layout.ep * placed.experts).fill(3);
      const reach = { reach: () => 0.7 };
      const routing = new GroupRouting(placed, counts, undefined, reach);
      const binding = new RoutingBinding(layout, () => routing);
      const counted = traffic({ program: moeLayerProgram(placed, strategy), layout, cluster, binding });
      const sent = counted.sent.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0);
      const listed = counted.operations.reduce((sum, { byTier }) => sum + byTier.reduce((a, b) => a + b, 0), 0);
      const carried = counted.ports.reduce((a, b) => a + b, 0);
      expect(listed).toBeCloseTo(sent, 3);
      expect(carried).toBeCloseTo(2 * sent, 3);
    }
  });

  it('does not depend on the number of chunks', () => {
    const { layout, experts } = shape;
    const routing = new GroupRouting(shape, new Int32Array(16 * experts).fill(5));
    const binding = new RoutingBinding(layout, () => routing);
    const of = (chunks: number) =>
      traffic({
        program: dispatchProgram(
          shape,
          { dispatch: 'duplicated', combine: 'sliced', chunks: { forward: chunks, backward: chunks } },
          ['forward', 'backward'],
        ),
        layout,
        cluster,
        binding,
      }).ports;
    expect(of(4)).toEqual(of(1));
  });
});
