/**
 * Weight shards (Megatron-Core's GTP): so many of the ranks that hold the same weights keep a share each. They gather
 * them in front of either pass of every micro-batch and reduce the gradients behind its backward, inside the shards;
 * once a step, replicas of the shards reduce what is left. Replicas lie inside stages. Shards of dense weights are next
 * to each other behind tp, in front of cp; those of experts behind ep (`_inject_gtp_remat_axis` in Megatron-Core's
 * parallel_state.py: orders tp-gtp_remat-cp-ep-dp-pp and tp-cp-ep-gtp_remat-dp-pp).
 */
import type { Layout } from '../layout/layout.js';
import type { WeightShards } from '../memory/index.js';
import { crossingSlope, ranksInDomain, ringLine, type Line, type Links } from './links.js';

/** Rings over the shards of weights, and over their replicas, by the byte that a rank computes with. */
export interface ShardRings {
  readonly gather: Line;
  readonly replicas: Line;
  /** Seconds a byte of gathering where it crosses the network; 0 of one that stays in a domain. */
  readonly crossing: number;
}

/** Of dense weights, and of the experts'. */
export type WeightSort = 'dense' | 'expert';

/** Over so many shards of weights of a sort. Replicas reduce their shard of the bytes. */
export function shardRings(
  links: Links,
  { tp, cp, dp, ep, etp, edp }: Layout,
  sort: WeightSort,
  shards: number,
): ShardRings {
  const [ranks, stride] = sort === 'dense' ? [dp * cp, tp] : [edp, etp * ep];
  const ring = (over: number, apart: number): Line => ringLine(links, over, ranksInDomain(links, over, apart));
  const { fixed, slope } = ring(ranks / shards, stride * shards);
  return {
    gather: ring(shards, stride),
    replicas: { fixed, slope: slope / shards },
    crossing: crossingSlope(links, shards, ranksInDomain(links, shards, stride)),
  };
}

/** Seconds of the rings of both sorts over so many bytes. */
export const bothSeconds = (dense: Line, expert: Line, denseBytes: number, expertBytes: number): number =>
  dense.fixed + dense.slope * denseBytes + expert.fixed + expert.slope * expertBytes;

/** Shards up to a node's ranks, each a multiple of the one before. */
export const shardSizes = [2, 4, 8] as const;

/** Shards that a layout has ranks for: of dense weights, of experts', of both. None first. */
export function shardsOf({ dp, edp }: Layout, experts: boolean): readonly (WeightShards | undefined)[] {
  return [
    undefined,
    ...shardSizes.flatMap((size) => [
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
