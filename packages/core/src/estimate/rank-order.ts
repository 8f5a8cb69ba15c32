/**
 * How the order of the ranks places groups on domains of links: replicas inside stages (tp, cp, ep, dp, pp; what
 * Megatron-Core does), or stages inside replicas (tp, cp, ep, pp, dp; its `--use-tp-pp-dp-mapping`).
 */
import type { Layout } from '../layout/layout.js';
import { ranksInDomain, type Links } from './links.js';

/** The first is what is meant when nothing is said. */
export const rankOrders = ['dp-pp', 'pp-dp'] as const;
export type RankOrder = (typeof rankOrders)[number];

/** Ranks in one domain of those that hold the same dense weights, and of those with the same experts. */
export function sharersInDomain(links: Links, layout: Layout, order: RankOrder): { dense: number; expert: number } {
  const { tp, cp, dp, pp, ep, etp, edp } = layout;
  if (order === 'dp-pp')
    return { dense: ranksInDomain(links, dp * cp, tp), expert: ranksInDomain(links, edp, etp * ep) };
  const replicas = ranksInDomain(links, dp, tp * cp * pp);
  return { dense: ranksInDomain(links, cp, tp) * replicas, expert: ranksInDomain(links, edp, etp * ep * pp) };
}

/** Devices that lie between a rank and the same rank of the next stage, where that is the furthest. */
export function nextStage({ domain }: Links, { tp, cp, dp, pp }: Layout, order: RankOrder): number {
  const apart = order === 'dp-pp' ? tp * cp * dp : tp * cp;
  return apart * pp > domain ? Math.max(domain, apart) : apart;
}

/** Both mappings have to have the same stages: with stages inside, experts are shared by as many ranks as replicas. */
export const canOrder = ({ dp, pp, edp }: Layout, order: RankOrder): boolean =>
  order === 'dp-pp' || (pp > 1 && dp > 1 && edp === dp);
