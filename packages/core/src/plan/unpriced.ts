/** What a model has and the programs do not compute yet: a price that left it out without a word would be wrong. */
import type { MoeModel } from '../model/model.js';

/** Parts of a MoE layer that its program lacks, in words. */
export const unpricedInLayer = ({ gated }: MoeModel): string[] =>
  gated ? [] : ['feed-forwards without gates: the program multiplies by three matrices, not two'];

/**
 * Small parts of a step that its program lacks, in words: passes over rows beside the products, some per cent of a step
 * together. They are named beside its price.
 */
export function leftOutOfStep(model: MoeModel): string[] {
  const { postNorms, clipQkv, learnedPositions, normBias, outputBias, feedForwardBias } = model;
  return [
    ...(postNorms ? ['norms behind attention and feed-forward, before the residual sum'] : []),
    ...(clipQkv === undefined ? [] : ['queries, keys and values cut to a range']),
    ...(learnedPositions > 0 ? ['learned positions'] : []),
    ...(normBias || outputBias || feedForwardBias ? ['biases of norms, feed-forwards or output'] : []),
  ];
}

/** Parts of a training step without which it has no price, in words; empty for a model whose step is priced. */
export function unpricedInStep(model: MoeModel): string[] {
  const { multiTokenLayers, window } = model;
  return [
    ...(window?.kind === 'chunked'
      ? [`attention in chunks of ${window.tokens} tokens: the program's windows slide`]
      : []),
    ...(multiTokenLayers > 0 ? [`${multiTokenLayers} layers of multi-token prediction and their outputs`] : []),
    ...unpricedInLayer(model),
  ];
}

/** What is named beside the price of a part of a run. */
export function leftOutOf(of: 'layer' | 'dispatch' | 'step', model: MoeModel): string[] {
  if (of === 'step') return leftOutOfStep(model);
  return of === 'layer' ? unpricedInLayer(model) : [];
}
