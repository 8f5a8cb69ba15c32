/** Where a group of ranks lies. */
import { unitOf, type Cluster } from '../cluster/index.js';

export interface GroupPlace {
  /** Hosts that it spans; absent where that is not known. */
  readonly nodes?: number;
  /** Name of the slowest tier that it crosses. */
  readonly tier?: string;
}

/** Where a group lies: by the cluster, else by the number of devices that the trace lists on a host, ranks in order. */
export function placeOfGroup(
  ranks: readonly number[],
  cluster: Cluster | undefined,
  devicesPerNode: number | undefined,
): GroupPlace {
  if (cluster !== undefined) {
    const tier = cluster.tiers.findIndex((_, t) => new Set(ranks.map((rank) => unitOf(cluster, t, rank))).size === 1);
    const name = cluster.tiers[tier]?.name;
    return {
      nodes: new Set(ranks.map((rank) => unitOf(cluster, 0, rank))).size,
      ...(name === undefined ? {} : { tier: name }),
    };
  }
  return devicesPerNode === undefined
    ? {}
    : { nodes: new Set(ranks.map((rank) => Math.floor(rank / devicesPerNode))).size };
}
