/**
 * Weight shards (Megatron-Core's GTP): so many of the ranks that hold the same weights keep a share each. They gather
 * them in front of either pass of every micro-batch and reduce the gradients behind its backward, inside the shards;
 * once a step, replicas of the shards reduce what is left. Replicas lie inside stages. Shards of dense weights are next
 * to each other behind tp, in front of cp; those of experts behind ep (`_inject_gtp_remat_axis` in Megatron-Core's
 * parallel_state.py: orders tp-gtp_remat-cp-ep-dp-pp and tp-cp-ep-gtp_remat-dp-pp).
 */
import type { Layout } from '../layout/layout.js';
import type { WeightShards } from '../memory/index.js';
import { ringSeconds, type Links } from './links.js';

/** Seconds of rings over so many bytes of a rank's dense weights, and of its experts'. */
export interface ShardRings {
  readonly gather: (dense: number, expert: number) => number;
  readonly replicas: (dense: number, expert: number) => number;
}

export function shardRings(
  links: Links,
  { tp, cp, dp, ep, etp, edp }: Layout,
  { dense: denseShards, expert: expertShards }: WeightShards,
): ShardRings {
  const [denseStride, expertStride] = [tp, etp * ep];
  return {
    gather: (dense, expert) =>
      ringSeconds(links, denseShards, denseStride, dense) + ringSeconds(links, expertShards, expertStride, expert),
    replicas: (dense, expert) =>
      ringSeconds(links, (dp * cp) / denseShards, denseStride * denseShards, dense / denseShards) +
      ringSeconds(links, edp / expertShards, expertStride * expertShards, expert / expertShards),
  };
}

/** Shards up to a node's ranks. */
const sizes = [2, 4, 8] as const;

/** Shards that a layout has ranks for: of dense weights, of experts', of both. None first. */
export function shardsOf({ dp, edp }: Layout, experts: boolean): readonly (WeightShards | undefined)[] {
  return [
    undefined,
    ...sizes.flatMap((size) => [
      ...(dp % size === 0 ? [shardsKept(size, 1)] : []),
      ...(experts && edp % size === 0 ? [shardsKept(1, size)] : []),
      ...(experts && dp % size === 0 && edp % size === 0 ? [shardsKept(size, size)] : []),
    ]),
  ];
}

const known = new Map<number, WeightShards>();

/** The same object for the same shards. */
function shardsKept(dense: number, expert: number): WeightShards {
  const key = dense * 2 ** 16 + expert;
  const found = known.get(key) ?? { dense, expert };
  known.set(key, found);
  return found;
}
