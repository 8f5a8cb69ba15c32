/** A cluster in words. */
import { formatBandwidth, formatSeconds } from '../units/index.js';
import type { Cluster } from './cluster.js';
import { devicesText } from './occupied.js';

/** One line about a cluster: nodes, devices, links. */
export function clusterSummary(cluster: Cluster): string {
  const tiers = cluster.tiers.map((tier, index) => {
    const ports = index === 0 ? ' a device' : `, ${tier.ports} port${tier.ports > 1 ? 's' : ''} a node`;
    return `${tier.name} ${formatBandwidth(tier.bytesPerSecond)}${ports}, ${formatSeconds(tier.latencySeconds)}`;
  });
  const used = cluster.part === undefined ? '' : ` (${cluster.part.used})`;
  return `${devicesText(cluster)} devices${used}; ${tiers.join('; ')}`;
}
