/** What a training run stands on: the configuration with `auto` resolved, the emulated network, and the cost model of this machine. */
import { availableParallelism, cpus } from 'node:os';
import {
  costModel,
  deviceCount,
  formatLayout,
  hostInputs,
  InputError,
  portsOf,
  resolveLayout,
  scaledCluster,
  scaledCurves,
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
import type { TrainConfig } from '../config/train-config.js';

/**
 * Bytes a second that the emulation is asked to carry at most, all ports together: what one thread that moves packets does beside ranks
 * that compute on the same two cores (the benchmark of the collectives shows 3 to 10 GB/s without them).
 */
const carriedBytesPerSecond = 2e9;

/** Factor by which the network is slowed so that this machine can carry its bytes: 1, 2, 5, 10, 20, … */
export function affordableTimeScale(cluster: Cluster): number {
  const all = portsOf(cluster)
    .filter((port) => port.tier === 0 && port.direction === 'egress')
    .reduce((sum, port) => sum + port.bytesPerSecond, 0);
  let scale = 1;
  for (let turn = 0; all / scale > carriedBytesPerSecond; turn++) scale *= turn % 3 === 1 ? 2.5 : 2;
  return scale;
}

/** FLOP/s of one rank when all compute at once on this machine's cores, at a rate that embedded kernels reach on one core. */
const coreFlopsPerSecond = 40e9;

/**
 * The time scale of a run. A cluster of CPU shares is emulated as fast as this machine can; one of accelerators is slowed by as much as its
 * devices are faster than a rank here, so that computing and communicating keep their proportion.
 */
export function timeScaleOf(config: TrainConfig, ranks: number): number | undefined {
  if (config.emulate === false) return undefined;
  if (config.emulate !== 'auto') return config.emulate.timeScale;
  const affordable = affordableTimeScale(config.cluster);
  const { device } = config.cluster;
  if (device.multiprocessors === undefined) return affordable;
  const here = (coreFlopsPerSecond * Math.min(availableParallelism(), ranks)) / ranks;
  return Math.max(affordable, Math.round((device.flopsPerSecond.bf16 / 2 / here) * 10) / 10);
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
    layout,
    sequence: config.data.sequence,
    sequences,
    microBatches: share / sequences,
    dtype: 'f32',
    ...(config.capacityFactor === undefined ? {} : { capacityFactor: config.capacityFactor }),
    strategy,
  };
}

/** TP inside a node as far as heads allow, data parallelism over the rest, experts over the replicas as far as they divide. */
export function automaticLayout(config: TrainConfig): Layout {
  const { model, cluster, batch } = config;
  const world = deviceCount(cluster);
  const node = cluster.tiers[0]?.size ?? world;
  const fits = (tp: number): boolean =>
    world % tp === 0 && model.attentionHeads % tp === 0 && model.expertFfn % tp === 0 && batch % (world / tp) === 0;
  for (let tp = Math.min(node, world); tp >= 1; tp--) {
    if (node % tp !== 0 || !fits(tp) || (model.keyValueHeads % tp !== 0 && tp % model.keyValueHeads !== 0)) continue;
    const dp = world / tp;
    for (let ep = dp; ep >= 1; ep--)
      if (dp % ep === 0 && model.experts % ep === 0) return resolveLayout({ tp, dp, ep }, world);
  }
  throw new InputError(`no layout of ${world} ranks fits ${model.name} with ${batch} sequences a step`, {
    path: 'layout',
    expected: 'tp that divides heads and expert width, and replicas that divide the batch',
    hint: 'give layout, or change batch',
  });
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
        : config.backend.kind === 'mpi'
          ? config.cluster
          : memorySpeed(config.cluster),
    hostCores: { cores, ranksPerHost: ranks },
  };
}

/** Without emulation every byte moves at the speed of one thread that copies: the cluster's tiers say nothing then. */
function memorySpeed(cluster: Cluster): Cluster {
  return {
    ...cluster,
    sources: ['no emulation: bytes move at memory speed'],
    tiers: cluster.tiers.map((tier) => ({
      ...tier,
      bytesPerSecond: carriedBytesPerSecond,
      latencySeconds: 1e-4,
      crossRailSlowdown: 1,
    })),
  };
}

export interface MachineOverheads {
  /**
   * From the last member's arrival to the moment its ranks go on, beyond the emulated time, seconds: issuing, the mover's lateness, and
   * waking up.
   */
  readonly delaySeconds: number;
  /** Relative error (root mean square) of the dispatches that it was fitted to. */
  readonly error: number;
}

/** The cost model of this machine: kernels as measured here, the network as emulated. */
export function machineModel(
  setting: Setting,
  kernels: ReadonlyMap<string, KernelRate>,
  overheads: Pick<MachineOverheads, 'delaySeconds'>,
): CostModel {
  const { curves, fabric } = setting;
  const { delaySeconds: overheadSeconds } = overheads;
  return costModel(setting.cluster.device, {
    kernels,
    ...(curves === undefined || fabric === undefined
      ? {}
      : { curves: scaledCurves(curves, { volumeShare: 1, timeScale: fabric.timeScale, overheadSeconds }) }),
    inputs: {
      computeType: setting.cluster.device.flopsPerSecond.f32 === undefined ? 'bf16' : 'f32',
      ...hostInputs(overheadSeconds),
    },
    inputSource: 'measured on this machine',
  });
}

/** `2 x AMD EPYC 9xx4`: the processors that run all ranks. */
export function describeHost(): string {
  const model = cpus()[0]?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown processor';
  return `${availableParallelism()} x ${model}`;
}
