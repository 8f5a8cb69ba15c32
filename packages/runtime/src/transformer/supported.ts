/** Which models the runtime computes. */
import { InputError } from '@monta/core/units';
import type { MoeModel } from '@monta/core';

/** Families of which sizes are known, and not all that they compute. */
const planned: readonly MoeModel['family'][] = [
  'dbrx',
  'llama4',
  'minimax_m2',
  'ernie4_5_moe',
  'phimoe',
  'granitemoe',
  'hunyuan_v1_moe',
  'bailing_moe',
  'dots1',
  'deepseek',
  'grok',
  'nemotron',
  'gpt',
  'dense',
];

/**
 * Throws InputError for a model with something that the kernels don't compute, naming all of it: such a model can be
 * planned and simulated, not trained or verified here.
 */
export function checkSupported(model: MoeModel): void {
  const reasons: string[] = [];
  if (model.window?.kind === 'chunked') reasons.push('chunked attention');
  if (!model.gated) reasons.push('experts without a gate projection');
  if (model.activation !== 'silu') reasons.push(`activation ${model.activation}`);
  if (planned.includes(model.family)) reasons.push('an architecture that is planned with only');
  if (model.scoring !== 'softmax' && model.auxLoss !== 'none')
    reasons.push(`an auxiliary loss of ${model.scoring} scores`);
  if (model.feedForwardBias) reasons.push('biases in feed-forwards');
  if (model.normBias) reasons.push('norms with biases');
  if (model.postNorms) reasons.push('norms behind attention and feed-forward');
  if (model.outputBias) reasons.push('a bias of the output matrix');
  if (model.learnedPositions > 0) reasons.push('learned positions');
  if (model.ropeType !== 'default' && model.ropeScaling === undefined) reasons.push(`rope type ${model.ropeType}`);
  if (reasons.length > 0)
    throw new InputError(
      `model ${model.name} (${model.family}) has ${reasons.join(', ')}, which is not computed here`,
      {
        expected: 'a model of the Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE, gpt-oss, DeepSeek or GLM-4.5 kind',
      },
    );
}
