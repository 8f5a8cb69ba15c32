/** Which models the runtime computes. */
import { InputError } from '@monta/core/units';
import type { MoeModel } from '@monta/core';

/** Families of which sizes are known, and not all that they compute: what is missing. */
const missing: Partial<Record<MoeModel['family'], string>> = {
  dbrx: 'LayerNorms and experts in fused tensors',
  llama4: 'scores that scale rows before their experts, and layers without positions',
  minimax_m2: 'a selection bias and a partial rotation under names of its own',
  ernie4_5_moe: 'a selection bias beside softmax scores, and an auxiliary loss over picks without it',
  phimoe: "SparseMixer's choice of experts",
  granitemoe: 'multipliers of embeddings, attention, residuals and logits',
  hunyuan_v1_moe: 'norms of queries and keys behind their rotation',
  bailing_moe: 'queries, keys and values in one fused tensor',
  deepseek: 'a code of its own outside transformers',
  grok: 'a cap on attention scores, and multipliers',
  nemotron: 'norms that add one to their weights',
  gpt: 'LayerNorms',
  dense: 'layers of which the sizes alone are known',
};

/**
 * Throws InputError for a model with something that the kernels don't compute, naming all of it: such a model can be
 * planned and simulated, not trained or verified here.
 */
export function checkSupported(model: MoeModel): void {
  const reasons: string[] = [];
  if (model.window?.kind === 'chunked') reasons.push('chunked attention');
  if (!model.gated) reasons.push('experts without a gate projection');
  if (model.activation !== 'silu') reasons.push(`activation ${model.activation}`);
  const lacking = missing[model.family];
  if (lacking !== undefined) reasons.push(lacking);
  if (model.scoring !== 'softmax' && model.auxLoss !== 'none')
    reasons.push(`an auxiliary loss of ${model.scoring} scores`);
  if (model.feedForwardBias) reasons.push('biases in feed-forwards');
  if (model.normBias) reasons.push('norms with biases');
  if (model.postNorms) reasons.push('norms behind attention and feed-forward');
  if (model.outputBias) reasons.push('a bias of the output matrix');
  if (model.learnedPositions > 0) reasons.push('learned positions');
  if (model.ropeType !== 'default' && model.ropeScaling === undefined) reasons.push(`rope type ${model.ropeType}`);
  const turning = model.latentAttention?.ropeHeadDim ?? model.rotaryDim ?? model.headDim;
  if (turning % 2 !== 0) reasons.push(`${turning} turning elements a head, which make no pairs`);
  if (reasons.length > 0)
    throw new InputError(
      `model ${model.name} (${model.family}) has ${reasons.join(', ')}, which is not computed here: ` +
        'it can be planned with only',
      {
        expected: 'a model of the Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE, gpt-oss, DeepSeek, dots.llm1 or GLM-4.5 kind',
      },
    );
}
