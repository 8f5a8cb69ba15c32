/**
 * The real network of hosts over MPI, and what the cores of their machines do for it, as the simulator wants to know
 * them.
 */
import type { Cluster, HostCores, Tier } from '@monta/core';
import { InputError } from '@monta/core/units';
import type { Launcher } from '../launch/index.js';
import { probeNetwork, type NetworkProbeResult } from './network.js';

export interface HostsProbe {
  /** The cluster given, with its links as measured. */
  readonly cluster: Cluster;
  readonly hostCores: HostCores;
  readonly result: NetworkProbeResult;
}

/**
 * Measures the links of hosts. `cluster` tells how many hosts there are and how many ranks on each; its own figures are
 * not looked at. Throws `InputError` when it has more tiers than hosts and one network between them.
 */
export async function probeHosts(options: {
  readonly launcher: Launcher;
  readonly cluster: Cluster;
  readonly signal?: AbortSignal;
}): Promise<HostsProbe> {
  const { launcher, cluster, signal } = options;
  const [inner, outer] = cluster.tiers;
  if (inner === undefined || cluster.tiers.length > 2)
    throw new InputError(`${cluster.name} has ${cluster.tiers.length} tiers`, {
      path: 'cluster',
      expected: 'hosts and one network between them, for MPI',
    });
  const result = await probeNetwork({
    hosts: { launcher, count: outer?.size ?? 1, ranksPerHost: inner.size },
    // Links are all that the simulator needs: collectives follow from them, and kernels are timed apart.
    linksOnly: true,
    ...(signal === undefined ? {} : { signal }),
  });
  return { cluster: clusterAsMeasured(cluster, result), hostCores: coresAsMeasured(result), result };
}

function clusterAsMeasured(cluster: Cluster, { probe }: NetworkProbeResult): Cluster {
  const tiers = cluster.tiers.map((tier, index): Tier => {
    const found = probe.tiers[index];
    // A tier of one unit was not measured, and nothing passes it.
    if (found === undefined) return tier;
    const { bytesPerSecond, latencySeconds, ports, crossRailSlowdown } = found;
    return {
      ...tier,
      bytesPerSecond,
      latencySeconds,
      ports: index === 0 ? 1 : ports,
      crossRailSlowdown,
      railAligned: crossRailSlowdown > 1,
    };
  });
  return { ...cluster, tiers, sources: [`measured over ${probe.system}`] };
}

/** Inside a host, the ranks themselves copy, on the cores that also compute. */
function coresAsMeasured({ hostCopying: { cores, ranks, bytesPerSecond } }: NetworkProbeResult): HostCores {
  const threads = Math.min(cores, ranks);
  return {
    cores,
    ranksPerHost: ranks,
    ...(Number.isFinite(bytesPerSecond) ? { movers: { threads, bytesPerSecond: bytesPerSecond / threads } } : {}),
  };
}
