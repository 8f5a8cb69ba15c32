/**
 * The time of a training step in closed form: work of every kind of layer over rates, exposed communication, the
 * slowest stage of the pipeline and its bubble. It ranks layouts; a simulation judges the best.
 */
import type { Basis } from '../cost/index.js';
import { megatronConvention, trainingFlopsPerToken } from '../model/flops.js';
import { worldSize } from '../layout/mesh.js';
import { stepConstants, type StepConstants } from './constants.js';
import { isHybrid } from './hybrid-models.js';
import { hybridFlopsPerToken } from './layer-amounts.js';
import { isFitted, peakOf } from './rates.js';
import type { RunSetting } from './run-setting.js';
import { priceStep, type StepParts } from './step-prices.js';

export interface StepEstimate {
  readonly seconds: number;
  /** What the step is made of. */
  readonly parts: StepParts;
  /** Tokens of the batch over the step and the GPUs. */
  readonly tokensPerSecondPerGpu: number;
  /** FLOPs a GPU and second that the model needs, without recomputation, in Megatron-LM's convention. */
  readonly modelFlopsPerGpu: number;
  /** `modelFlopsPerGpu` over the bf16 peak, whatever the precision. */
  readonly mfu: number;
  /** Bounds that no layout goes below: the model's FLOPs over the peak of the precision. */
  readonly boundSeconds: number;
  readonly basis: Basis;
}

export function estimateStep(setting: RunSetting, constants: StepConstants = stepConstants): StepEstimate {
  const { model, cluster, layout, sequence, globalBatch, precision } = setting;
  const parts = priceStep(setting, constants);
  const gpus = worldSize(layout);
  const perToken = isHybrid(model)
    ? hybridFlopsPerToken(model, sequence)
    : trainingFlopsPerToken(model, sequence, megatronConvention);
  const flops = (perToken * globalBatch * sequence) / gpus;
  const { bf16 } = cluster.device.flopsPerSecond;
  return {
    seconds: parts.seconds,
    parts,
    tokensPerSecondPerGpu: (globalBatch * sequence) / gpus / parts.seconds,
    modelFlopsPerGpu: flops / parts.seconds,
    mfu: flops / parts.seconds / bf16,
    boundSeconds: flops / (peakOf(cluster.device, precision) ?? bf16),
    basis: isFitted(cluster.device) ? 'fitted' : 'scaled',
  };
}
