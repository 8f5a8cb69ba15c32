/** Bytes that cross every tier in a simulation: what a rank sends, and what the busiest port does. */
import type { Cluster } from '../cluster/cluster.js';
import { devicesPerUnit, portsOf } from '../cluster/ports.js';
import type { SimulationSummary } from '../simulate/index.js';
import { maxOf } from '../units/index.js';

/** Bytes that cross one tier. */
export interface TierBytes {
  readonly tier: number;
  readonly name: string;
  /** Sent, mean over ranks. */
  readonly perRank: number;
  /** What the busiest port sends, for each rank behind it. */
  readonly busiest: number;
}

/**
 * What a rank sends, and what the busiest sender does. Inside a node a device sends, over all its links together;
 * outside each NIC, for the devices that share it.
 */
export function tierBytes({ portKinds, ranks }: SimulationSummary, cluster: Cluster): TierBytes[] {
  const ports = portsOf(cluster);
  const sent = new Float64Array(cluster.tiers.length);
  const bySender = cluster.tiers.map(() => new Map<number, number>());
  for (const { port, count, bytes } of portKinds) {
    const { tier, unit, direction } = ports[port] ?? {};
    if (tier === undefined || unit === undefined || direction === 'ingress') continue;
    sent[tier] = (sent[tier] ?? 0) + count * bytes;
    const sender = tier === 0 ? unit : port;
    bySender[tier]?.set(sender, (bySender[tier].get(sender) ?? 0) + bytes);
  }
  return cluster.tiers.map(({ name, ports: each }, tier) => {
    const behind = tier === 0 ? 1 : devicesPerUnit(cluster, tier - 1) / each;
    const busiest = Math.max(0, maxOf([...(bySender[tier]?.values() ?? [])]));
    return { tier, name, perRank: (sent[tier] ?? 0) / ranks, busiest: busiest / behind };
  });
}
