/** Whether a step fits, and what takes the memory. */
import {
  checkImbalance,
  fitOf,
  megatronModules,
  overheadsOf,
  stageMemory,
  type MegatronModule,
  type MemoryFit,
  type MemorySetting,
  type PrecisionName,
  type SharingName,
  type StageMemory,
} from '../memory/index.js';
import { recomputeModules, type RecomputeModule } from '../schedule/index.js';
import { InputError } from '../units/index.js';
import { clusterOf, stepOf, type LayerQuestion } from './subject.js';

/** A step, and what its memory depends on. */
export interface MemoryQuestion extends Omit<LayerQuestion, 'routing' | 'seed' | 'scope'> {
  /** How ranks share parameters, gradients and states. Left out: distributed-optimizer. */
  readonly sharing?: SharingName;
  /** Bytes of weights, gradients and states. Left out: mixed with bf16, full with f32. */
  readonly precision?: PrecisionName;
  /** What the backward computes again: modules of Megatron-Core, or all that it knows. Left out: none. */
  readonly recompute?: 'none' | 'selective' | 'full' | readonly MegatronModule[];
  /** Chunks of the model that each stage of the pipeline holds. Left out: 1. */
  readonly virtualStages?: number;
  /** Rows of the fullest rank's experts over the mean. Left out: 1. */
  readonly imbalance?: number;
}

export interface StepMemory extends MemoryFit {
  /** By stage of the pipeline: states, activations, buffers, and where the peak is. All in bytes a device. */
  readonly stages: readonly StageMemory[];
}

const isMonta = (module: MegatronModule): module is RecomputeModule =>
  (recomputeModules as readonly string[]).includes(module);

function settingOf(question: MemoryQuestion): MemorySetting {
  const { sharing = 'distributed-optimizer', recompute = 'none', virtualStages = 1, imbalance = 1 } = question;
  const unknown = typeof recompute === 'string' ? [] : recompute.filter((one) => !megatronModules.includes(one));
  if (unknown.length > 0)
    throw new InputError(`${unknown.join(', ')} cannot be computed again`, {
      path: 'recompute',
      expected: `none, selective, full, or some of ${megatronModules.join(', ')}`,
    });
  const step = stepOf(question);
  checkImbalance(imbalance, step.model);
  return {
    step: {
      ...step,
      recompute: typeof recompute === 'string' ? recompute : recompute.filter(isMonta),
      virtualStages,
    },
    convention: 'megatron',
    sharing,
    precision: question.precision ?? (step.dtype === 'f32' ? 'full' : 'mixed'),
    imbalance,
    activationAgain: typeof recompute !== 'string' && recompute.includes('moe_act'),
  };
}

/**
 * What a step takes of each device's memory, as Megatron-Core with TransformerEngine holds it, and whether it fits.
 * Throws `InputError`.
 *
 * @example
 * const question = { model: 'olmoe-1b-7b', cluster: 'h100-1x8', layout: 'dp=8,ep=8' };
 * const { fits, totalBytes, capacityBytes } = memory(question);
 * console.log(fits, totalBytes < capacityBytes);
 * // true true
 */
export function memory(question: MemoryQuestion): StepMemory {
  const setting = settingOf(question);
  const cluster = clusterOf(question);
  const overheads = overheadsOf(cluster.device);
  const stages = Array.from({ length: setting.step.layout.pp }, (_, stage) => stageMemory(setting, stage, overheads));
  return { ...fitOf(setting, cluster), stages };
}
