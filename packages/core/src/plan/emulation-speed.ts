/**
 * How fast a cluster's network is emulated on a machine whose ranks are CPU cores: slowed so that the machine can carry
 * its bytes.
 */
import { portsOf, type Cluster } from '../cluster/index.js';

/**
 * Bytes a second that the emulation is asked to carry at most, all ports together: what one thread that moves packets
 * does beside ranks that compute on the same two cores (the benchmark of the collectives shows 3 to 10 GB/s without
 * them).
 */
const carriedBytesPerSecond = 2e9;

/**
 * FLOP/s of one rank when all compute at once on this machine's cores, at a rate that embedded kernels reach on one
 * core.
 */
const coreFlopsPerSecond = 40e9;

/** Factor by which the network is slowed so that the machine can carry its bytes: 1, 2, 5, 10, 20, … */
export function affordableTimeScale(cluster: Cluster): number {
  const all = portsOf(cluster)
    .filter((port) => port.tier === 0 && port.direction === 'egress')
    .reduce((sum, port) => sum + port.bytesPerSecond, 0);
  let scale = 1;
  for (let turn = 0; all / scale > carriedBytesPerSecond; turn++) scale *= turn % 3 === 1 ? 2.5 : 2;
  return scale;
}

/**
 * The time scale of a run of so many ranks on so many cores. A cluster of CPU shares is emulated as fast as the machine
 * can; one of accelerators is slowed by as much as its devices are faster than a rank here, so that computing and
 * communicating keep their proportion.
 */
export function fittingTimeScale(cluster: Cluster, ranks: number, cores: number): number {
  const affordable = affordableTimeScale(cluster);
  const { device } = cluster;
  if (device.multiprocessors === undefined) return affordable;
  const here = (coreFlopsPerSecond * Math.min(cores, ranks)) / ranks;
  return Math.max(affordable, Math.round((device.flopsPerSecond.bf16 / 2 / here) * 10) / 10);
}

/**
 * The cluster without emulation: every byte moves at the speed of one thread that copies, and its tiers say nothing.
 */
export const atMemorySpeed = (cluster: Cluster): Cluster => ({
  ...cluster,
  sources: ['no emulation: bytes move at memory speed'],
  tiers: cluster.tiers.map((tier) => ({
    ...tier,
    bytesPerSecond: carriedBytesPerSecond,
    latencySeconds: 1e-4,
    crossRailSlowdown: 1,
  })),
});
