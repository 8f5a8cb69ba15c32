/**
 * What a training run stands on: the configuration with `auto` resolved, the emulated network, and the cost model of
 * this machine.
 */
import { availableParallelism, cpus } from 'node:os';
import {
  atMemorySpeed,
  automaticLayout,
  fittingTimeScale,
  formatLayout,
  InputError,
  machineModel,
  placedOn,
  scaledCluster,
  worldSize,
  type Cluster,
  type CollectiveCurves,
  type CostModel,
  type HostCores,
  type KernelRate,
  type Layout,
  type StepShape,
  type Strategy,
} from '@monta/core';
import type { FabricOptions } from '@monta/runtime';
import { hasOwnNetwork } from '../config/backend-config.js';
import type { TrainConfig } from '../config/train-config.js';

/** The time scale that a configuration asks for; undefined without emulation. */
function timeScaleOf({ emulate, cluster }: TrainConfig, ranks: number): number | undefined {
  if (emulate === false) return undefined;
  return emulate === 'auto' ? fittingTimeScale(cluster, ranks, availableParallelism()) : emulate.timeScale;
}

export interface Setting {
  readonly config: TrainConfig;
  readonly layout: Layout;
  readonly ranks: number;
  readonly fabric?: FabricOptions;
  /** The cluster as emulated: slowed by the time scale. */
  readonly cluster: Cluster;
  readonly hostCores: HostCores;
  /** Measured curves of the cluster at its own speed, in place of its file's latencies and bandwidths. */
  readonly curves?: CollectiveCurves;
}

/** The step of a run under a strategy. */
export function stepOf({ config, layout }: Pick<Setting, 'config' | 'layout'>, strategy: Strategy): StepShape {
  const share = config.batch / layout.dp;
  const sequences = config.microBatch ?? share;
  return {
    model: config.model,
    layout: placedOn(layout, config.cluster),
    sequence: config.data.sequence,
    sequences,
    microBatches: share / sequences,
    dtype: config.dtype,
    ...(config.capacityFactor === undefined ? {} : { capacityFactor: config.capacityFactor }),
    ...config.overlap,
    strategy,
  };
}

/** Resolves a configuration. Throws `InputError` where it contradicts itself. */
export function settingOf(config: TrainConfig): Setting {
  const layout = config.layout === 'auto' ? automaticLayout(config) : config.layout;
  if (config.batch % layout.dp !== 0)
    throw new InputError(`${layout.dp} replicas of ${formatLayout(layout)} do not divide ${config.batch} sequences`, {
      path: 'batch',
      expected: `a multiple of ${layout.dp}`,
    });
  const ranks = worldSize(layout);
  const timeScale = timeScaleOf(config, ranks);
  const cores = availableParallelism();
  return {
    config,
    layout,
    ranks,
    ...(timeScale === undefined ? {} : { fabric: { cluster: config.cluster, timeScale } }),
    cluster:
      timeScale !== undefined
        ? scaledCluster(config.cluster, timeScale)
        : hasOwnNetwork(config.backend)
          ? config.cluster
          : atMemorySpeed(config.cluster),
    hostCores: { cores, ranksPerHost: ranks },
  };
}

export interface MachineOverheads {
  /**
   * From the last member's arrival to the moment its ranks go on, beyond the emulated time, seconds: issuing, the
   * mover's lateness, and waking up.
   */
  readonly delaySeconds: number;
  /** Relative error (root mean square) of the dispatches that it was fitted to. */
  readonly error: number;
}

/** The cost model of a setting: kernels as measured on this machine, the network as emulated. */
export const settingModel = (
  { cluster, curves, fabric }: Setting,
  kernels: ReadonlyMap<string, KernelRate>,
  { delaySeconds }: Pick<MachineOverheads, 'delaySeconds'>,
): CostModel =>
  machineModel(cluster.device, { kernels, overheadSeconds: delaySeconds, timeScale: fabric?.timeScale, curves });

/** `2 x AMD EPYC 9xx4`: the processors that run all ranks. */
export function describeHost(): string {
  const model = cpus()[0]?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown processor';
  return `${availableParallelism()} x ${model}`;
}
