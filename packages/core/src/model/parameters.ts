/** How many parameters a model has, by the buckets that parallelism treats differently. */
import type { MoeModel } from './model.js';
import { keyValueWidth, queryWidth } from './model.js';

/** Parameters of one layer. */
export interface LayerParameters {
  /** Attention projections with their biases; split over tp. */
  readonly attention: number;
  /** Feed-forward of a layer without experts; split over tp. */
  readonly dense: number;
  /** Experts that every token visits; split over tp. */
  readonly sharedExperts: number;
  /** All routed experts; split over etp and ep. */
  readonly experts: number;
  /** Router, and the gate of the shared expert; on every rank. */
  readonly router: number;
  /** Norm weights; on every rank. */
  readonly norms: number;
}

export interface Parameters extends LayerParameters {
  /** Token embedding, and that of positions where they are learnt. */
  readonly embedding: number;
  /** Output projection; 0 when it is the embedding and has no bias. */
  readonly output: number;
  /** All of the above: the model proper, without multi-token prediction modules. */
  readonly total: number;
  /** Those of `total` that one token uses: topK of the experts, everything else whole. */
  readonly active: number;
  /** Multi-token prediction modules, beside `total` (embedding and output are shared with the model). */
  readonly multiToken: number;
}

const matrices = (model: MoeModel): number => (model.gated ? 3 : 2);

/** Parameters of attention and its norms; without the layer's two norms. */
function attentionParameters(model: MoeModel): { projections: number; norms: number } {
  const h = model.hiddenSize;
  const q = queryWidth(model);
  const latent = model.latentAttention;
  if (latent !== undefined) {
    const { queryRank, keyValueRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = latent;
    const query = queryRank === undefined ? h * q : queryRank * (h + q);
    const down = h * (keyValueRank + ropeHeadDim);
    const up = keyValueRank * model.attentionHeads * (nopeHeadDim + valueHeadDim);
    const output = model.attentionHeads * valueHeadDim * h;
    // Of the down projections and the output (`attention_bias` of DeepSeek's classes).
    const bias = model.attentionBias === 'none' ? 0 : (queryRank ?? 0) + keyValueRank + ropeHeadDim + h;
    return { projections: query + down + up + output + bias, norms: (queryRank ?? 0) + keyValueRank };
  }
  const kv = keyValueWidth(model);
  const bias = model.attentionBias === 'none' ? 0 : q + 2 * kv + (model.attentionBias === 'all' ? h : 0);
  const sinks = model.attentionSinks ? model.attentionHeads : 0;
  const norms = model.qkNorm === 'none' ? 0 : model.qkNorm === 'perHead' ? 2 * model.headDim : q + kv;
  return { projections: h * (q + 2 * kv) + q * h + bias + sinks, norms };
}

/** Weights of one norm over the hidden size. */
const normWeights = (model: MoeModel): number => model.hiddenSize * (model.normBias ? 2 : 1);

const layerNorms = (model: MoeModel): number => normWeights(model) * (model.postNorms ? 4 : 2);

function layerOf(model: MoeModel, moe: boolean): LayerParameters {
  const h = model.hiddenSize;
  const n = matrices(model);
  const { projections, norms } = attentionParameters(model);
  const bias = moe && model.expertBias ? model.experts * ((n - 1) * model.expertFfn + h) : 0;
  const denseBias = model.feedForwardBias ? (n - 1) * model.denseFfn + h : 0;
  return {
    attention: projections,
    dense: moe ? 0 : n * h * model.denseFfn + denseBias,
    sharedExperts: moe ? n * h * model.sharedExpertFfn : 0,
    experts: moe ? model.experts * n * h * model.expertFfn + bias : 0,
    router: moe ? model.experts * (h + (model.expertBias ? 1 : 0)) + (model.sharedExpertGate ? h : 0) : 0,
    norms: layerNorms(model) + norms,
  };
}

/** Parameters of layer `layer` (0-based). */
export const layerParameters = (model: MoeModel, layer: number): LayerParameters =>
  layerOf(model, model.moeLayers[layer] ?? true);

const sumOf = (p: LayerParameters): number => p.attention + p.dense + p.sharedExperts + p.experts + p.router + p.norms;

/** Parameters of one expert. */
export const expertParameters = (model: MoeModel): number =>
  model.experts === 0 ? 0 : layerOf(model, true).experts / model.experts;

/** Counts a whole model's parameters. */
export function countParameters(model: MoeModel): Parameters {
  const sum = { attention: 0, dense: 0, sharedExperts: 0, experts: 0, router: 0, norms: normWeights(model) };
  for (const moe of model.moeLayers) {
    const layer = layerOf(model, moe);
    sum.attention += layer.attention;
    sum.dense += layer.dense;
    sum.sharedExperts += layer.sharedExperts;
    sum.experts += layer.experts;
    sum.router += layer.router;
    sum.norms += layer.norms;
  }
  const tokens = model.vocabSize * model.hiddenSize;
  const embedding = tokens + model.learnedPositions * model.hiddenSize;
  const output = (model.tieEmbeddings ? 0 : tokens) + (model.outputBias ? model.vocabSize : 0);
  const total = sumOf(sum) + embedding + output;
  const idle = model.experts === 0 ? 0 : sum.experts * (1 - model.topK / model.experts);
  // A module: norms of both inputs, a projection 2h -> h, a layer like the last, and a final norm (DeepSeek-V3 report,
  // 2.2).
  const last = layerOf(model, model.moeLayers.at(-1) ?? true);
  const module = 2 * model.hiddenSize ** 2 + 3 * model.hiddenSize + sumOf(last);
  return {
    ...sum,
    embedding,
    output,
    total,
    active: Math.round(total - idle),
    multiToken: model.multiTokenLayers * module,
  };
}
