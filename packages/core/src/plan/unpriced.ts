/** What a model has and the programs do not compute yet: a price that left it out without a word would be wrong. */
import type { MoeModel } from '../model/model.js';

/** Parts of a MoE layer that its program lacks, in words. */
export const unpricedInLayer = ({ gated }: MoeModel): string[] =>
  gated ? [] : ['feed-forwards without gates: the program multiplies by three matrices, not two'];

/** Parts of a training step that its program lacks, in words; empty for a model that is priced whole. */
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
