/** A cluster whose network is slowed down as a whole. */
import type { Cluster } from './cluster.js';

/**
 * The cluster with every bandwidth divided and every latency multiplied by `timeScale`: what an emulation at
 * 1/timeScale of the cluster's speed looks like to the cost model.
 */
export function scaledCluster(cluster: Cluster, timeScale: number): Cluster {
  if (!(timeScale > 0) || !Number.isFinite(timeScale))
    throw new RangeError(`time scale ${timeScale} is not a positive number`);
  return {
    ...cluster,
    tiers: cluster.tiers.map((tier) => ({
      ...tier,
      bytesPerSecond: tier.bytesPerSecond / timeScale,
      latencySeconds: tier.latencySeconds * timeScale,
    })),
  };
}
