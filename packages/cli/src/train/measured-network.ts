/** The real network of an MPI job, measured before planning: what its links give, and what the cores of its machines do for them. */
import { InputError, type Cluster, type Tier } from '@monta/core';
import { probeNetwork, type Launcher, type NetworkProbeResult } from '@monta/runtime';
import type { Setting } from './setting.js';

/** Transfers between pairs say nothing of collectives' shapes, and those cost the most time: they are not measured here. */
const repetitions = 5;

/** The setting with the links of its cluster as measured, and its cores shared by the ranks that really share them. */
export async function withMeasuredNetwork(setting: Setting, launcher: Launcher, signal: AbortSignal): Promise<Setting> {
  const [inner, outer] = setting.config.cluster.tiers;
  if (inner === undefined || setting.config.cluster.tiers.length > 2)
    throw new InputError(`${setting.config.cluster.name} has ${setting.config.cluster.tiers.length} tiers`, {
      path: 'cluster',
      expected: 'hosts and one network between them, for MPI',
    });
  const measured = await probeNetwork({
    hosts: { launcher, count: outer?.size ?? 1, ranksPerHost: inner.size },
    ops: [],
    repetitions,
    signal,
  });
  return {
    ...setting,
    cluster: clusterAsMeasured(setting.config.cluster, measured),
    hostCores: coresAsMeasured(measured),
  };
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
function coresAsMeasured({ hostCopying: { cores, ranks, bytesPerSecond } }: NetworkProbeResult): Setting['hostCores'] {
  const threads = Math.min(cores, ranks);
  return {
    cores,
    ranksPerHost: ranks,
    ...(Number.isFinite(bytesPerSecond) ? { movers: { threads, bytesPerSecond: bytesPerSecond / threads } } : {}),
  };
}
