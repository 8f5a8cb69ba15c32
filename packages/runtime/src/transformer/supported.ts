/** Which models the runtime computes. */
import { InputError } from '@monta/core';
import type { MoeModel } from '@monta/core';

/**
 * Throws InputError for a model with something that the kernels don't compute, naming all of it: such a model can be planned and
 * simulated, not trained or verified here.
 */
export function checkSupported(model: MoeModel): void {
  const reasons: string[] = [];
  if (model.latentAttention !== undefined) reasons.push('latent attention');
  if (model.window?.kind === 'chunked') reasons.push('chunked attention');
  if (!model.gated) reasons.push('experts without a gate projection');
  if (model.activation !== 'silu') reasons.push(`activation ${model.activation}`);
  if (model.scoring !== 'softmax') reasons.push(`${model.scoring} router scores`);
  if (model.routedScaling !== 1) reasons.push('a factor on routed experts');
  if (model.feedForwardBias) reasons.push('biases in feed-forwards');
  if (model.normBias) reasons.push('norms with biases');
  if (model.postNorms) reasons.push('norms behind attention and feed-forward');
  if (model.outputBias) reasons.push('a bias of the output matrix');
  if (model.learnedPositions > 0) reasons.push('learned positions');
  if (model.ropeType !== 'default' && model.ropeScaling === undefined) reasons.push(`rope type ${model.ropeType}`);
  if (model.multiTokenLayers > 0) reasons.push('multi-token prediction layers');
  if (reasons.length > 0)
    throw new InputError(
      `model ${model.name} (${model.family}) has ${reasons.join(', ')}, which is not computed here`,
      {
        expected: 'a model of the Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE or gpt-oss kind: softmax router, gated experts',
      },
    );
}
