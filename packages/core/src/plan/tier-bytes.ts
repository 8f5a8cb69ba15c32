/** Bytes that cross every tier in a simulation: what a rank sends, and what the busiest port does. */
import type { Cluster } from '../cluster/cluster.js';
import { devicesPerUnit, portsOf } from '../cluster/ports.js';
import type { SimulationSummary } from '../simulate/index.js';
import { memoized } from '../units/index.js';

/** Bytes that cross one tier. */
export interface TierBytes {
  readonly tier: number;
  readonly name: string;
  /** Sent, mean over ranks. */
  readonly perRank: number;
  /** What the busiest port sends, for each rank behind it. */
  readonly busiest: number;
}

/** Who sends: inside a node a device, whose links count together, outside each NIC with the devices that share it. */
interface Senders {
  /** By port of the cluster; -1 for those that receive. */
  readonly ofPort: Int32Array;
  /** By sender. */
  readonly tiers: readonly number[];
}

const sendersOf = memoized((cluster: Cluster): Senders => {
  const numbers = new Map<string, number>();
  const tiers: number[] = [];
  const ofPort = Int32Array.from(portsOf(cluster), ({ tier, unit, direction }, port) => {
    if (direction === 'ingress') return -1;
    const key = `${tier} ${tier === 0 ? unit : port}`;
    let number = numbers.get(key);
    if (number === undefined) numbers.set(key, (number = tiers.push(tier) - 1));
    return number;
  });
  return { ofPort, tiers };
});

export function tierBytes({ portBytes, ranks }: SimulationSummary, cluster: Cluster): TierBytes[] {
  const { ofPort, tiers } = sendersOf(cluster);
  const bySender = new Float64Array(tiers.length);
  ofPort.forEach((sender, port) => {
    if (sender >= 0) bySender[sender] = (bySender[sender] ?? 0) + (portBytes[port] ?? 0);
  });
  const sent = new Float64Array(cluster.tiers.length);
  const most = new Float64Array(cluster.tiers.length);
  tiers.forEach((tier, sender) => {
    const bytes = bySender[sender] ?? 0;
    sent[tier] = (sent[tier] ?? 0) + bytes;
    most[tier] = Math.max(most[tier] ?? 0, bytes);
  });
  return cluster.tiers.map(({ name, ports }, tier) => {
    const behind = tier === 0 ? 1 : devicesPerUnit(cluster, tier - 1) / ports;
    return { tier, name, perRank: (sent[tier] ?? 0) / ranks, busiest: (most[tier] ?? 0) / behind };
  });
}
