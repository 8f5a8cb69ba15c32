/** Memory of the fullest stage of a run, in closed form (`memory/closed-form.ts`). */
import type { Cluster } from '../cluster/cluster.js';
import {
  closedTotal,
  fullStages,
  MemoryTable,
  overheadsOf,
  type MemoryChoice,
  type MemorySetting,
} from '../memory/index.js';
import { inChunks, namedStrategies, type Recompute, type RecomputeModule } from '../schedule/index.js';
import { maxOf } from '../units/index.js';
import { stepConstants } from './constants.js';
import { microBatchesOf, runSetting, type RecomputeSetting, type RunSetting } from './run-setting.js';
import { evenLayers } from './stage-layers.js';

const isModule = (module: string): module is RecomputeModule => module !== 'moe_act';

const recomputeOf = (recompute: RecomputeSetting): Recompute =>
  typeof recompute === 'string' ? recompute : recompute.filter(isModule);

const computesActivationAgain = (recompute: RecomputeSetting): boolean =>
  typeof recompute !== 'string' && recompute.includes('moe_act');

/** Run as Megatron-Core keeps it. Throws `InputError` where micro-batches do not divide. */
export function memorySetting(setting: RunSetting): MemorySetting {
  const { model, layout, sequence, microBatch, virtualStages, recompute, sharing, states, imbalance } = setting;
  const { hostStates, weightShards } = setting;
  return {
    step: {
      model,
      layout,
      sequence,
      sequences: microBatch,
      microBatches: microBatchesOf(setting),
      dtype: 'bf16',
      strategy: inChunks(namedStrategies.scattered, 1),
      recompute: recomputeOf(recompute),
      virtualStages,
      layersOfStages:
        setting.layersOfStages ?? evenLayers(model.layers, layout.pp * virtualStages, model.multiTokenLayers),
    },
    convention: 'megatron',
    sharing,
    precision: states,
    imbalance: imbalance === 'natural' ? stepConstants.naturalImbalance : imbalance,
    activationAgain: computesActivationAgain(recompute),
    ...(hostStates === undefined ? {} : { hostStates }),
    ...(weightShards === undefined ? {} : { weightShards }),
  };
}

/**
 * The other way round: the run whose memory this is, on a cluster; `given` says what memory does not depend on. Steps
 * that compute again no module but the experts' activation name that one alone.
 */
export function runOfMemory(memory: MemorySetting, cluster: Cluster, given: Partial<RunSetting> = {}): RunSetting {
  const { step, sharing, precision, imbalance, activationAgain = false, hostStates, weightShards } = memory;
  const { model, layout, sequence, sequences, microBatches, recompute = 'none', virtualStages = 1 } = step;
  const modules = typeof recompute === 'string' ? [] : recompute;
  return runSetting({
    model,
    cluster,
    layout,
    virtualStages,
    sequence,
    microBatch: sequences,
    globalBatch: sequences * microBatches * layout.dp,
    states: precision,
    sharing,
    ...(hostStates === undefined ? {} : { hostStates }),
    ...(weightShards === undefined || weightShards.dense * weightShards.expert === 1 ? {} : { weightShards }),
    imbalance,
    recompute:
      typeof recompute === 'string' && !activationAgain
        ? recompute
        : [...modules, ...(activationAgain ? (['moe_act'] as const) : [])],
    ...given,
  });
}

/** Memory of very many runs of one problem: as `estimateMemory`, what they share worked out once. */
export class RunMemory {
  readonly #table: MemoryTable;
  readonly #choice: { -readonly [Field in keyof MemoryChoice]: MemoryChoice[Field] };
  readonly #recomputes = new Map<RecomputeSetting, Pick<MemoryChoice, 'recompute' | 'activationAgain'>>();

  /** `setting`: of those to come, which differ in what a search varies. */
  constructor(setting: RunSetting) {
    const { layers, multiTokenLayers } = setting.model;
    const { layout, microBatch: sequences, sharing } = setting;
    this.#choice = { layout, sequences, microBatches: 1, sharing };
    this.#table = new MemoryTable(memorySetting(setting), (stages) => evenLayers(layers, stages, multiTokenLayers));
  }

  /** Bytes of the fullest device. Throws `InputError` where micro-batches do not divide. */
  totalBytes(setting: RunSetting): number {
    return this.#table.totalBytes(this.#choiceOf(setting), overheadsOf(setting.cluster.device));
  }

  /**
   * No more than `totalBytes`, and little work where runs that differ in what ranks share follow one another. Throws
   * `InputError` where micro-batches do not divide.
   */
  leastBytes(setting: RunSetting): number {
    return this.#table.leastBytes(this.#choiceOf(setting), overheadsOf(setting.cluster.device));
  }

  /** Always the same object: a search asks very often, and nobody keeps it. */
  #choiceOf(setting: RunSetting): MemoryChoice {
    const { recompute, activationAgain } = this.#recomputeOf(setting.recompute);
    const choice = this.#choice;
    choice.layout = setting.layout;
    choice.sequences = setting.microBatch;
    choice.microBatches = microBatchesOf(setting);
    choice.virtualStages = setting.virtualStages;
    choice.layersOfStages = setting.layersOfStages;
    choice.folded = setting.schedule === 'dualpipe-v';
    choice.recompute = recompute;
    choice.activationAgain = activationAgain;
    choice.sharing = setting.sharing;
    choice.hostStates = setting.hostStates;
    choice.weightShards = setting.weightShards;
    return choice;
  }

  #recomputeOf(recompute: RecomputeSetting): Pick<MemoryChoice, 'recompute' | 'activationAgain'> {
    const known = this.#recomputes.get(recompute);
    if (known !== undefined) return known;
    const made = { recompute: recomputeOf(recompute), activationAgain: computesActivationAgain(recompute) };
    this.#recomputes.set(recompute, made);
    return made;
  }
}

/** Bytes of the fullest device. */
export function estimateMemory(setting: RunSetting): number {
  if (setting.schedule === 'dualpipe-v') return new RunMemory(setting).totalBytes(setting);
  const memory = memorySetting(setting);
  return maxOf(fullStages(memory.step).map((stage) => closedTotal(memory, stage, overheadsOf(setting.cluster.device))));
}
