/** Copies that strategies send, against counts by formula and by hand. */
import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../../testing/strategies.js';
import { getCluster } from '../../cluster/index.js';
import { placedOn, worldSize } from '../../layout/mesh.js';
import { GroupRouting } from '../../routing/group-routing.js';
import { expectedGroupsPerToken, sampleIds } from '../../routing/routing.js';
import { traffic } from '../../traffic/index.js';
import { dispatchProgram } from '../dispatch-only.js';
import type { MoeShape } from '../moe-shape.js';
import { RoutingBinding } from '../routing-binding.js';
import { inChunks, namedStrategies, type StrategyName } from './strategies.js';

const cluster = getCluster('a800-2x8');
const tokens = 8192;
const [hiddenSize, experts, topK] = [16, 64, 8];

/** Bytes that leave a node and that stay in it when a layer's tokens are dispatched, per rank. */
function sent(name: StrategyName, part: Parameters<typeof layoutOf>[0], activation: 'replicated' | 'sequence') {
  const layout = placedOn(layoutOf({ ...part, sequenceParallel: activation === 'sequence' }), cluster);
  const shape: MoeShape = { tokens, hiddenSize, expertFfn: 8, experts, topK, layout, dtype: 'bf16' };
  const perSource = tokens / layout.tp;
  const picks = Array.from({ length: worldSize(layout) }, (_, source) => ({
    ids: sampleIds({
      sources: 1,
      tokensPerSource: perSource,
      experts,
      topK,
      routing: { kind: 'uniform' },
      seed: source,
    }),
    topK,
  }));
  const routing = GroupRouting.fromPicks(shape, picks, { cut: 'tokens' });
  const program = dispatchProgram(shape, inChunks(namedStrategies[name], 2), ['forward']);
  const { operations } = traffic({ program, layout, cluster, binding: new RoutingBinding(layout, () => routing) });
  const outgoing = operations.slice(0, operations.length / 2);
  const bytes = (tier: number): number =>
    outgoing.reduce((sum, { byTier }) => sum + (byTier[tier] ?? 0), 0) / worldSize(layout);
  return { inside: bytes(0), across: bytes(1), row: (2 * hiddenSize * tokens) / layout.tp };
}

describe('bytes of strategies in the closed forms', () => {
  const [tp, dp] = [8, 2];
  const reached = expectedGroupsPerToken(experts, 2, topK) / 2;

  it('deduplicated: a copy a token and remote node on the rail, one a rank that needs it inside', () => {
    const { inside, across, row } = sent('deduplicated', { tp, dp, ep: 16, etp: 1 }, 'sequence');
    expect(across / (row * reached)).toBeCloseTo(1, 2);
    // Seven of the eight ranks of either node are reached over its links.
    const ranks = expectedGroupsPerToken(experts, 16, topK);
    expect(inside / ((row * ranks * 7) / 8)).toBeCloseTo(1, 2);
  });

  it('deduplicated with experts sharded inside the node: a copy for every shard, as if gathered', () => {
    const copies = sent('deduplicated', { tp, dp, ep: 2 }, 'sequence');
    const gathered = sent('deduplicated-gathered', { tp, dp, ep: 2 }, 'sequence');
    expect(copies.across).toBe(gathered.across);
    expect(copies.inside).toBe(gathered.inside);
    expect(gathered.across / (gathered.row * reached)).toBeCloseTo(1, 2);
    expect(gathered.inside / (gathered.row * 2 * reached * (tp - 1))).toBeCloseTo(1, 2);
  });

  it.each([
    ['deduplicated', { tp, dp, ep: 16, etp: 1 }, 2],
    ['deduplicated-gathered', { tp, dp, ep: 4, etp: 4 }, 4],
  ] as const)('%s has room for as many copies as are expected', (name, part, groups) => {
    const layout = placedOn(layoutOf({ ...part, sequenceParallel: true }), cluster);
    const shape: MoeShape = { tokens, hiddenSize, expertFfn: 8, experts, topK, layout, dtype: 'bf16' };
    const { templates } = dispatchProgram(shape, inChunks(namedStrategies[name], 1), ['forward']);
    const send = templates['dispatch.forward']?.regions.find(({ id }) => id === 'send')?.rows;
    if (send === undefined || typeof send === 'number') throw new Error('no size by a rule');
    expect(send.expected).toBeCloseTo((tokens / tp) * expectedGroupsPerToken(experts, groups, topK), 6);
    expect(send.max).toBe((tokens / tp) * groups);
  });

  it('deduplicated-gathered does not gather what the own replica holds', () => {
    const { inside, across, row } = sent('deduplicated-gathered', { tp, dp, ep: 2 }, 'replicated');
    expect(across / (row * reached)).toBeCloseTo(1, 2);
    expect(inside / (row * reached * (tp - 1))).toBeCloseTo(1, 2);
  });

  it('hierarchical: the rows of a plain exchange between nodes, all of them once more inside', () => {
    const plain = sent('scattered', { tp, dp, ep: 16, etp: 1 }, 'sequence');
    const { inside, across, row } = sent('hierarchical', { tp, dp, ep: 16, etp: 1 }, 'sequence');
    expect(across).toBe(plain.across);
    expect(inside / ((row * topK * 7) / 8)).toBeCloseTo(1, 2);
  });

  it('gathered: every token to every rank, whatever k', () => {
    const { inside, across, row } = sent('gathered', { tp, dp, ep: 16, etp: 1 }, 'sequence');
    expect(inside + across).toBe(row * 15);
  });
});
