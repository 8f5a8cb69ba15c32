/** The optimizer of a training run, as `optimizer` in `train.yaml` says it. */
import type { Field, FieldMap, MoeModel } from '@monta/core';
import { limits } from '@monta/core/units';

export const learningRateRange = { above: 0, max: 1e6 } as const;

export interface OptimizerConfig {
  /** Peak learning rate (default 3e-3). */
  readonly lr: number;
  /** Steps of linear warm-up (default 20). */
  readonly warmup: number;
  /** Where the cosine ends (default lr / 10). */
  readonly minLr: number;
  /** AdamW's decoupled weight decay (default 0.1). */
  readonly weightDecay: number;
  /**
   * Global gradient norm; larger gradients are scaled down to it, Infinity never (default 1; `clip: false` in files).
   */
  readonly clip: number;
  /** AdamW's decay rates (default 0.9 and 0.95). */
  readonly betas: readonly [number, number];
  /**
   * By how much each step moves the selection bias of every expert towards an even load (DeepSeek-V3: 0.001), without
   * gradient, from picks counted over all ranks. Default: biases stay (also `selectionBiasRate: false` in files).
   */
  readonly selectionBiasRate?: number;
}

/** The rate of a model whose experts are chosen with a bias. */
function selectionBiasRateFrom(field: Field | undefined, { name, selectionBias }: MoeModel): number | undefined {
  if (field === undefined || field.value === false) return undefined;
  if (!selectionBias)
    throw field.error(`${name} chooses experts without a selection bias`, {
      expected: 'a model with one: DeepSeek-V3, GLM-4.5 and kin, or selectionBias: true in a model of your own',
    });
  return field.number({ above: 0, max: 1 });
}

/** Reads it, with defaults for what is not said; `lrOverride` is the flag's. Throws `InputError`. */
export function optimizerFrom(
  map: FieldMap | undefined,
  lrOverride: number | undefined,
  model: MoeModel,
): OptimizerConfig {
  const fields = map
    ?.get('optimizer')
    ?.map(['lr', 'warmup', 'minLr', 'weightDecay', 'clip', 'betas', 'selectionBiasRate']);
  const lr = lrOverride ?? fields?.get('lr')?.number(learningRateRange) ?? 3e-3;
  const floor = fields?.get('minLr');
  const minLr = floor?.number({ min: 0, max: learningRateRange.max }) ?? lr / 10;
  if (floor !== undefined && minLr > lr) throw floor.error(`${minLr} is above lr ${lr}`, { expected: 'at most lr' });
  const clip = fields?.get('clip');
  const betas = fields?.get('betas');
  const selectionBiasRate = selectionBiasRateFrom(fields?.get('selectionBiasRate'), model);
  const [first, second] = betas?.list(2, 2).map((beta) => beta.number({ min: 0, max: 0.999_999 })) ?? [0.9, 0.95];
  return {
    lr,
    minLr,
    warmup: fields?.get('warmup')?.integer({ min: 0, max: limits.steps }) ?? 20,
    weightDecay: fields?.get('weightDecay')?.number({ min: 0, max: 1e6 }) ?? 0.1,
    clip: clip === undefined ? 1 : clip.value === false ? Infinity : clip.number({ above: 0 }),
    betas: [first ?? 0.9, second ?? 0.95],
    ...(selectionBiasRate === undefined ? {} : { selectionBiasRate }),
  };
}
