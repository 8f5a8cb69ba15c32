/** What this machine adds to every collective and kernel of a run, measured on dispatches that move next to nothing. */
import { dispatchProgram, type MoeShape, type Strategy } from '@monta/core';
import {
  fitCollectiveCost,
  hostOverheads,
  measureDispatch,
  withoutLatencies,
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
/** Few and many collectives at a time. */
const chunkCounts = [1, 4];

const strategyOf = (chunks: number): Strategy => ({
  dispatch: 'sliced',
  combine: 'scattered',
  chunks: { forward: chunks, backward: chunks },
});

/**
 * Runs dispatches of a few bytes on all ranks of the setting, over its network, and fits what a collective costs to them: a delay, and core time
 * in the setting returned.
 */
export async function measureOverheads(
  setting: Setting,
  launcher: Launcher,
  signal: AbortSignal,
): Promise<{ readonly setting: Setting; readonly overheads: MachineOverheads }> {
  const { config, layout, fabric, ranks } = setting;
  if (ranks === 1) return { setting, overheads: { collectiveSeconds: 0 } };
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
    jobs: chunkCounts.map((chunks) => ({
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
  const empty = measured.map(({ job: { strategy }, passSeconds, spans }): EmptyDispatch => ({
    shape,
    strategy,
    pass: 'forward',
    seconds:
      median(passSeconds[0] ?? []) -
      hostOverheads(dispatchProgram(shape, strategy, ['forward']), spans, () => 0).startSeconds,
  }));
  // An emulated network has latencies of its own; those of a real one are in the delay that its ranks see.
  const cluster = overMpi ? withoutLatencies(setting.cluster) : setting.cluster;
  const { coreSeconds, delaySeconds } = fitCollectiveCost(empty, { cluster, hostCores: setting.hostCores });
  return {
    setting: { ...setting, cluster, hostCores: { ...setting.hostCores, collectiveSeconds: coreSeconds } },
    overheads: { collectiveSeconds: delaySeconds },
  };
}
