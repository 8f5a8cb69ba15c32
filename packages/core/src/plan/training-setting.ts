/**
 * What a training run stands on: the configuration with `auto` resolved, the emulated network, the step under a
 * strategy, and the cost model of the machine that runs it.
 */
import { scaledCluster, type Cluster } from '../cluster/index.js';
import { machineModel, type CollectiveCurves, type CostModel, type KernelRate } from '../cost/index.js';
import { formatLayout, placedOn, worldSize, type Layout } from '../layout/index.js';
import type { MoeModel } from '../model/index.js';
import type { Overlap, StepOverlap, StepShape, Strategy } from '../schedule/index.js';
import type { HostCores } from '../simulate/index.js';
import { InputError } from '../units/index.js';
import { automaticLayout } from './automatic-layout.js';
import { atMemorySpeed, fittingTimeScale } from './emulation-speed.js';

/** What program and prediction depend on in a run's configuration. */
export interface TrainingChoices {
  readonly model: MoeModel;
  readonly cluster: Cluster;
  readonly layout: 'auto' | Layout;
  readonly data: { readonly sequence: number };
  /** Sequences of one step, over all replicas. */
  readonly batch: number;
  /** Sequences of a replica in one pass; all of its share when left out. */
  readonly microBatch?: number;
  readonly capacityFactor?: number;
  readonly optimizer: {
    /** By how much a step moves each expert's selection bias; none when left out. */
    readonly selectionBiasRate?: number;
  };
  /** As what rows travel to their experts; in `dtype` when left out. */
  readonly payload?: StepShape['payload'];
  readonly dtype: StepShape['dtype'];
  /** Kinds that are named are so; those of a layer that are not named are for a plan to choose. */
  readonly overlap: StepOverlap;
  /** Of initial weights, of the order of data, and of routing that is drawn. */
  readonly seed: number;
  /** How far the network is slowed: a factor, chosen for the machine, or not emulated. */
  readonly emulate: 'auto' | false | { readonly timeScale: number };
}

/** Where a run takes place. */
export interface TrainingGround {
  /** Processors of this machine. */
  readonly cores: number;
  /** Whether bytes pass a network that is there, and is not emulated. */
  readonly ownNetwork: boolean;
}

export interface TrainingSetting<Config extends TrainingChoices = TrainingChoices> {
  readonly config: Config;
  readonly layout: Layout;
  readonly ranks: number;
  /** The emulated network, where there is one: the cluster at its own speed, and how far it is slowed. */
  readonly fabric?: { readonly cluster: Cluster; readonly timeScale: number };
  /** The cluster as emulated: slowed by the time scale. */
  readonly cluster: Cluster;
  readonly hostCores: HostCores;
  /** Measured curves of the cluster at its own speed, in place of its file's latencies and bandwidths. */
  readonly curves?: CollectiveCurves;
}

/** Resolves a configuration. Throws `InputError` where it contradicts itself. */
export function trainingSetting<Config extends TrainingChoices>(
  config: Config,
  { cores, ownNetwork }: TrainingGround,
): TrainingSetting<Config> {
  const { cluster, emulate } = config;
  const layout = config.layout === 'auto' ? automaticLayout(config) : config.layout;
  if (config.batch % layout.dp !== 0)
    throw new InputError(`${layout.dp} replicas of ${formatLayout(layout)} do not divide ${config.batch} sequences`, {
      path: 'batch',
      expected: `a multiple of ${layout.dp}`,
    });
  const ranks = worldSize(layout);
  const hostCores = { cores, ranksPerHost: ranks };
  if (emulate === false)
    return { config, layout, ranks, cluster: ownNetwork ? cluster : atMemorySpeed(cluster), hostCores };
  const timeScale = emulate === 'auto' ? fittingTimeScale(cluster, ranks, cores) : emulate.timeScale;
  const fabric = { cluster, timeScale };
  return { config, layout, ranks, fabric, cluster: scaledCluster(cluster, timeScale), hostCores };
}

/** The step of a run under a strategy, with what a layer overlaps where that was chosen with it. */
export function settingStep(
  { config, layout }: Pick<TrainingSetting, 'config' | 'layout'>,
  strategy: Strategy,
  overlap?: Overlap,
): StepShape {
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
    ...(config.optimizer.selectionBiasRate === undefined
      ? {}
      : { selectionBiasRate: config.optimizer.selectionBiasRate }),
    ...(config.payload === undefined ? {} : { payload: config.payload }),
    ...config.overlap,
    ...(overlap === undefined ? {} : { overlap }),
    strategy,
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

/** The cost model of a setting: kernels as measured on the machine, the network as emulated. */
export const settingModel = (
  { cluster, curves, fabric }: TrainingSetting,
  kernels: ReadonlyMap<string, KernelRate>,
  { delaySeconds }: Pick<MachineOverheads, 'delaySeconds'>,
): CostModel =>
  machineModel(cluster.device, { kernels, overheadSeconds: delaySeconds, timeScale: fabric?.timeScale, curves });
