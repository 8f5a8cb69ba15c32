/** The two hosts of the bench, what was measured of them before any case, and the shapes that run on them. */
import type { Cluster, Layout, MoeShape } from '@monta/core';
import { inChunks, namedStrategies } from '@monta/core/schedule';
import {
  probeCommunication,
  probeHosts,
  withCost,
  withoutLatencies,
  type CommunicationFigures,
  type HostsProbe,
  type Launcher,
  type MachineProbe,
} from '@monta/runtime';
import { hostsCluster } from '../../config/backend-config.js';
import type { CostResult } from './types.js';

/** Two hosts with `tp` ranks each, and what was measured of them. */
export interface Hosts {
  readonly tp: number;
  readonly launcher: Launcher;
  /** Host a's address on the link. */
  readonly address: string;
  readonly probe: HostsProbe;
  /** What communication costs the ranks. */
  readonly cost: CommunicationFigures;
  /** The cluster with its links as measured; what messages wait for is in the cost. */
  readonly seen: Cluster;
  /** What predictions know of the hosts, kernels apart. */
  readonly machine: Omit<MachineProbe, 'kernels'>;
}

const hidden = 256;
const [experts, topK] = [8, 2];

/** Dispatches that the cost of communication is fitted to. */
interface ProbedDispatches {
  /** None of these volumes is a case of the bench, MiB. */
  readonly mebibytes: readonly number[];
  readonly chunkCounts: readonly number[];
  readonly turns: number;
  readonly repetitions: number;
  /** Each process compiles its code for itself. */
  readonly warmUps: number;
}

const probed: ProbedDispatches = {
  mebibytes: [0.125, 0.5, 2],
  chunkCounts: [1, 2, 4],
  turns: 5,
  repetitions: 4,
  warmUps: 10,
};
/** Enough to see that it works. */
const probedQuickly: ProbedDispatches = {
  mebibytes: [0.5, 2],
  chunkCounts: [1, 2],
  turns: 2,
  repetitions: 2,
  warmUps: 2,
};

/** Measures links, and what communication costs. */
export async function probeTwoHosts({
  tp,
  launcher,
  address,
  quick,
}: {
  readonly tp: number;
  readonly launcher: Launcher;
  readonly address: string;
  readonly quick: boolean;
}): Promise<Hosts> {
  const { mebibytes, chunkCounts, ...runs } = quick ? probedQuickly : probed;
  const cluster = hostsCluster(['a', 'b'].map((name) => ({ name, slots: tp })));
  const probe = await probeHosts({ launcher, cluster });
  const seen = withoutLatencies(probe.cluster);
  const cost = await probeCommunication({
    launcher,
    ground: { cluster: seen, hostCores: probe.hostCores },
    shape: shapeOf(tp, 0),
    strategies: (['duplicated', 'sliced', 'scattered'] as const).flatMap((name) =>
      chunkCounts.map((chunks) => inChunks(namedStrategies[name], chunks)),
    ),
    volumes: mebibytes.map((one) => one * 2 ** 20),
    ...runs,
  });
  const machine = {
    hostCores: withCost(probe.hostCores, cost),
    delaySeconds: cost.delaySeconds,
    // what a sleeping rank and a late mover would add is in the cost of collectives
    wakeSeconds: 0,
    startSeconds: cost.startSeconds,
  };
  return { tp, launcher, address, probe, cost, seen, machine };
}

/** As it is written down. */
export const costOf = ({ tp, cost }: Hosts): CostResult => {
  const { coreSeconds, delaySeconds, networkBytesPerSecond = Infinity, error } = cost;
  return { tp, coreSeconds, delaySeconds, networkBytesPerSecond, error };
};

/** V is what a replica dispatches: tokens x top-k rows. */
export function shapeOf(tp: number, volumeBytes: number): MoeShape {
  const degrees = { tp, cp: 1, dp: 2, pp: 1, etp: tp, ep: 2, edp: 1, sequenceParallel: false };
  const layout: Layout = { ...degrees, ranksPerNode: tp };
  const tokens = Math.round(volumeBytes / (topK * hidden * 4));
  return { tokens, hiddenSize: hidden, expertFfn: hidden, experts, topK, layout, dtype: 'f32' };
}
