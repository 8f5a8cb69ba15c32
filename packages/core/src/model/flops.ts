/**
 * Floating-point operations of a forward pass, per token. A multiply-add counts two. The backward pass costs twice the
 * forward (once for the inputs' gradient, once for the weights'), so a training step costs three times it without
 * recomputation. Formulas as in Megatron-LM's training.py, num_floating_point_operations.
 */
import type { MoeModel } from './model.js';
import { keyValueWidth, queryWidth } from './model.js';

/** What is counted. Published TFLOPS figures differ in it, so a comparison has to name it. */
export interface FlopsConvention {
  /** causal: keys that a token may see, on average half the sequence; full: all of them, masked or not. */
  readonly attention: 'causal' | 'full';
  /** Whether the router's projection counts. */
  readonly router: boolean;
}

/** Megatron-LM's: causal halves, no router. */
export const megatronConvention: FlopsConvention = { attention: 'causal', router: false };

/** What is computed: causal halves, router too. */
export const computedConvention: FlopsConvention = { attention: 'causal', router: true };

/** FLOPs of one token's forward pass by part, summed over layers. */
export interface ForwardFlops {
  /** Projections of queries, keys, values and output. */
  readonly attentionProjections: number;
  /** Scores and weighted values; grows with the sequence. */
  readonly attentionCore: number;
  /** Feed-forwards of layers without experts. */
  readonly dense: number;
  /** Experts that every token visits. */
  readonly sharedExperts: number;
  /** The topK experts that the token visits. */
  readonly experts: number;
  /** Scores of the experts. */
  readonly router: number;
  /** Output projection to the vocabulary. */
  readonly logits: number;
  /** Multi-token prediction modules, each with a layer, a 2h to h projection and logits. */
  readonly multiToken: number;
  /** All of it. */
  readonly total: number;
}

/** Keys that one token attends to, averaged over a sequence, in the convention's sense. */
function meanKeys(model: MoeModel, layer: number, sequence: number, attention: FlopsConvention['attention']): number {
  const { window } = model;
  if (window === undefined || !window.layers[layer] || window.tokens >= sequence) {
    return attention === 'full' ? sequence : sequence / 2;
  }
  if (attention === 'full') return window.tokens;
  // Sliding: the first `tokens` positions see half of it on average, the others all of it. It meets s/2 at tokens = s.
  return window.kind === 'chunked' ? window.tokens / 2 : window.tokens - window.tokens ** 2 / (2 * sequence);
}

type LayerFlops = Omit<ForwardFlops, 'logits' | 'multiToken' | 'total'>;

/** Weights that a token multiplies in the attention of one layer. */
function attentionWeights(model: MoeModel): number {
  const h = model.hiddenSize;
  const q = queryWidth(model);
  const latent = model.latentAttention;
  if (latent === undefined) return h * (q + 2 * keyValueWidth(model)) + q * h;
  const { queryRank, keyValueRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = latent;
  const query = queryRank === undefined ? h * q : queryRank * (h + q + 1);
  const keyValue = keyValueRank * (h + model.attentionHeads * (nopeHeadDim + valueHeadDim) + 1) + h * ropeHeadDim;
  return query + keyValue + model.attentionHeads * valueHeadDim * h;
}

function layerFlopsOf({
  model,
  layer,
  moe,
  sequence,
  convention,
}: {
  readonly model: MoeModel;
  readonly layer: number;
  readonly moe: boolean;
  readonly sequence: number;
  readonly convention: FlopsConvention;
}): LayerFlops {
  const h = model.hiddenSize;
  const ffn = 2 * (model.gated ? 3 : 2) * h;
  const values = model.latentAttention?.valueHeadDim ?? model.headDim;
  const perKey = 2 * (queryWidth(model) + model.attentionHeads * values);
  return {
    attentionProjections: 2 * attentionWeights(model),
    attentionCore: perKey * meanKeys(model, layer, sequence, convention.attention),
    dense: moe ? 0 : ffn * model.denseFfn,
    sharedExperts: moe ? ffn * model.sharedExpertFfn + (model.sharedExpertGate ? 2 * h : 0) : 0,
    experts: moe ? ffn * model.topK * model.expertFfn : 0,
    router: moe && convention.router ? 2 * h * model.experts : 0,
  };
}

/** Forward FLOPs per token of layer `layer` (0-based) in sequences of `sequence` tokens. */
export const layerFlops = (
  model: MoeModel,
  layer: number,
  sequence: number,
  convention: FlopsConvention = computedConvention,
): LayerFlops => layerFlopsOf({ model, layer, moe: model.moeLayers[layer] ?? true, sequence, convention });

const sumOf = (f: LayerFlops): number =>
  f.attentionProjections + f.attentionCore + f.dense + f.sharedExperts + f.experts + f.router;

/** Forward FLOPs per token of the whole model in sequences of `sequence` tokens. */
export function forwardFlopsPerToken(
  model: MoeModel,
  sequence: number,
  convention: FlopsConvention = computedConvention,
): ForwardFlops {
  const sum = { attentionProjections: 0, attentionCore: 0, dense: 0, sharedExperts: 0, experts: 0, router: 0 };
  for (const layer of model.moeLayers.keys()) {
    const f = layerFlops(model, layer, sequence, convention);
    sum.attentionProjections += f.attentionProjections;
    sum.attentionCore += f.attentionCore;
    sum.dense += f.dense;
    sum.sharedExperts += f.sharedExperts;
    sum.experts += f.experts;
    sum.router += f.router;
  }
  const h = model.hiddenSize;
  const logits = 2 * h * model.vocabSize;
  const last = sumOf(layerFlops(model, model.layers - 1, sequence, convention));
  const multiToken = model.multiTokenLayers * (last + 2 * 2 * h * h + logits);
  return { ...sum, logits, multiToken, total: sumOf(sum) + logits + multiToken };
}

/** Forward and backward FLOPs per token, without recomputation: three times the forward. */
export const trainingFlopsPerToken = (
  model: MoeModel,
  sequence: number,
  convention: FlopsConvention = computedConvention,
): number => 3 * forwardFlopsPerToken(model, sequence, convention).total;
