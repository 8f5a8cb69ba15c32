/** A cluster in words. */
import { formatBandwidth, formatSeconds } from '../units/index.js';
import type { Cluster } from './cluster.js';
import { deviceCount } from './ports.js';

/** One line about a cluster: nodes, devices, links. */
export function clusterSummary(cluster: Cluster): string {
  const devices = deviceCount(cluster);
  const tiers = cluster.tiers.map((tier, index) => {
    const ports = index === 0 ? ' a device' : `, ${tier.ports} port${tier.ports > 1 ? 's' : ''} a node`;
    return `${tier.name} ${formatBandwidth(tier.bytesPerSecond)}${ports}, ${formatSeconds(tier.latencySeconds)}`;
  });
  return `${devices} devices; ${tiers.join('; ')}`;
}
