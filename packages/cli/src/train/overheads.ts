/** What this machine adds to every collective and kernel of a run, measured on dispatches that move next to nothing. */
import {
  dispatchProgram,
  groupMembers,
  scaledCluster,
  tierBetween,
  type Layout,
  type MoeShape,
  type Operation,
  type Strategy,
} from '@monta/core';
import {
  fitCollectiveCost,
  hostOverheads,
  measureDispatch,
  withoutLatencies,
  type DispatchMeasurement,
  type EmptyDispatch,
  type Launcher,
} from '@monta/runtime';
import { median } from '../bench/dispatch-predict.js';
import type { MachineOverheads, Setting } from './setting.js';

/** Tokens of a replica for each TP rank, and elements of a row. */
const [tokensPerRank, rowElements] = [4, 16];
const repetitions = 9;
/** Each process compiles its code for itself. */
const warmUps = { threads: 2, processes: 10 };
/** Over MPI: few and many collectives at a time. */
const processChunks = [1, 4];

const strategyOf = (chunks: number): Strategy => ({
  dispatch: 'sliced',
  combine: 'scattered',
  chunks: { forward: chunks, backward: chunks },
});

/**
 * Runs a dispatch of a few bytes on all ranks of the setting, over its network, and reads the overheads off it. The setting returned has what
 * collectives cost the cores, where ranks are processes that share them.
 */
export async function measureOverheads(
  setting: Setting,
  launcher: Launcher,
  signal: AbortSignal,
): Promise<{ readonly setting: Setting; readonly overheads: MachineOverheads }> {
  const { config, layout, fabric } = setting;
  const overMpi = config.backend.kind === 'mpi';
  const shape: MoeShape = {
    tokens: tokensPerRank * layout.tp,
    hiddenSize: rowElements,
    expertFfn: config.model.expertFfn,
    experts: config.model.experts,
    topK: config.model.topK,
    layout,
    dtype: 'f32',
  };
  const measured = await measureDispatch({
    jobs: (overMpi ? processChunks : [1]).map((chunks) => ({
      shape,
      strategy: strategyOf(chunks),
      passes: ['forward'],
      routing: { kind: 'uniform' },
      seed: 1,
      warmUps: overMpi ? warmUps.processes : warmUps.threads,
      repetitions,
      trace: true,
    })),
    launcher,
    fabric,
    signal,
  });
  return overMpi ? ofProcesses(setting, measured) : { setting, overheads: ofThreads(setting, measured) };
}

/** Processes move their bytes themselves: core time, and a delay that holds the latency of the links too. */
function ofProcesses(
  setting: Setting,
  measured: readonly DispatchMeasurement[],
): { readonly setting: Setting; readonly overheads: MachineOverheads } {
  const { hostCores } = setting;
  const empty = measured.map(({ job: { shape, strategy }, passSeconds, spans }): EmptyDispatch => ({
    shape,
    strategy,
    pass: 'forward',
    seconds:
      median(passSeconds[0] ?? []) -
      hostOverheads(dispatchProgram(shape, strategy, ['forward']), spans, () => 0).startSeconds,
  }));
  const { coreSeconds, delaySeconds } = fitCollectiveCost(empty, { cluster: setting.cluster, hostCores });
  return {
    setting: {
      ...setting,
      cluster: withoutLatencies(setting.cluster),
      hostCores: { ...hostCores, collectiveSeconds: coreSeconds },
    },
    overheads: { collectiveSeconds: delaySeconds },
  };
}

function ofThreads({ layout, fabric }: Setting, [measured]: readonly DispatchMeasurement[]): MachineOverheads {
  if (measured === undefined) throw new RangeError('nothing was measured');
  const { job, spans } = measured;
  const network = fabric && scaledCluster(fabric.cluster, fabric.timeScale);
  const { collectiveSeconds, wakeSeconds } = hostOverheads(
    dispatchProgram(job.shape, job.strategy, job.passes),
    spans,
    (operation, rank) => (network === undefined ? 0 : latencyOf(operation, layout, rank, network)),
  );
  return { collectiveSeconds: collectiveSeconds + wakeSeconds };
}

/** The network's own latency is part of the simulation and must not count twice. */
function latencyOf({ body }: Operation, layout: Layout, rank: number, network: Setting['cluster']): number {
  if (body.kind !== 'collective') return 0;
  const tiers = groupMembers(layout, body.group, rank).map((peer) => tierBetween(network, rank, peer));
  return network.tiers[Math.max(...tiers)]?.latencySeconds ?? 0;
}
