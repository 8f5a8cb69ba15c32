/**
 * Work of one layer on one rank and one micro-batch, in FLOPs and bytes of memory, balanced routing. Layers of a kind
 * are alike, so a model's step needs these once a kind.
 */
import { layerFlops } from '../model/flops.js';
import { keyValueWidth, queryWidth, type MoeModel } from '../model/model.js';
import { layerParameters } from '../model/parameters.js';

/** What layers differ in, as far as their time does. */
export interface LayerKind {
  /** The first layer of the kind. */
  readonly layer: number;
  readonly moe: boolean;
}

/** Kinds of a model's layers, and by layer the index of its kind. */
export interface LayerKinds {
  readonly kinds: readonly LayerKind[];
  readonly kindOf: readonly number[];
}

/** Layers differ in having experts or not, and in seeing a window or all tokens. */
export function layerKinds(model: MoeModel): LayerKinds {
  const kinds: LayerKind[] = [];
  const known = new Map<string, number>();
  const kindOf = model.moeLayers.map((moe, layer) => {
    const key = `${moe} ${model.window?.layers[layer] ?? false}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    known.set(key, kinds.length);
    kinds.push({ layer, moe });
    return kinds.length - 1;
  });
  return { kinds, kindOf };
}

const known = new WeakMap<MoeModel, LayerKinds>();

/** `layerKinds`, kept. */
export function knownKinds(model: MoeModel): LayerKinds {
  const found = known.get(model) ?? layerKinds(model);
  known.set(model, found);
  return found;
}

/** Degrees and tokens that decide a layer's work on a rank. */
export interface RankShare {
  readonly tp: number;
  readonly ep: number;
  readonly etp: number;
  /** Tokens of a micro-batch that a TP group holds. */
  readonly tokens: number;
}

/** Forward work; the backward of products is twice as many FLOPs. */
export interface LayerAmounts {
  /** FLOPs of attention's projections. */
  readonly projections: number;
  /** FLOPs of dense feed-forwards, shared experts and routers. */
  readonly feedForward: number;
  /** FLOPs of the experts' products. */
  readonly grouped: number;
  /** FLOPs of attention's core, causal. */
  readonly attention: number;
  /** Elements that kernels between products read and write. */
  readonly elements: number;
  /** Elements of the inputs of products: what lower precisions quantise. */
  readonly inputs: number;
  /** Those of the experts' products. */
  readonly rowInputs: number;
  /** Weights on the rank, that products read and whose gradients they add to. */
  readonly dense: number;
  readonly expert: number;
  /** Rows that the experts of the rank compute. */
  readonly rows: number;
}

/**
 * Elements by kernel, per token, forward: norm 2h, residual sum 3h, each for attention and feed-forward; rotary
 * positions read and write queries and keys; a gated activation 3f, another 2f; permuting rows to experts and back 2h
 * each a row.
 */
export function layerAmounts(model: MoeModel, kind: LayerKind, sequence: number, share: RankShare): LayerAmounts {
  const { layer, moe } = kind;
  const { tp, ep, etp, tokens } = share;
  const flops = layerFlops(model, layer, sequence);
  const { attention, dense, sharedExperts, experts, router } = layerParameters(model, layer);
  const h = model.hiddenSize;
  const own = tokens / tp;
  const rows = moe ? own * model.topK * etp : 0;
  const latent = model.latentAttention;
  const keyValues = latent === undefined ? keyValueWidth(model) : model.attentionHeads * latent.nopeHeadDim;
  const rotated = queryWidth(model) + keyValues;
  const activated = model.gated ? 3 : 2;
  const inner = moe ? model.sharedExpertFfn : model.denseFfn;
  const perRow = moe ? 4 * h + (activated * model.expertFfn) / etp : 0;
  return {
    projections: flops.attentionProjections * own,
    feedForward: (flops.dense + flops.sharedExperts + flops.router) * own,
    grouped: flops.experts * own,
    attention: flops.attentionCore * own,
    elements: own * (10 * h + 2 * rotated + activated * inner) + rows * perRow,
    inputs: own * (2 * h + queryWidth(model) + inner),
    rowInputs: rows * (h + model.expertFfn / etp),
    dense: (attention + dense + sharedExperts) / tp + router,
    expert: experts / (ep * etp),
    rows,
  };
}

/** The ends of the model: what the first and the last stage hold besides layers. */
export interface EndAmounts {
  /** FLOPs of the output layer, forward. */
  readonly logits: number;
  /** Logits of a rank. */
  readonly logitElements: number;
  /** Weights of the embedding, and of the output layer, on a rank. */
  readonly embedding: number;
  readonly output: number;
}

export function endAmounts(model: MoeModel, { tp, tokens }: Pick<RankShare, 'tp' | 'tokens'>): EndAmounts {
  const vocabulary = model.vocabSize * model.hiddenSize;
  return {
    logits: (2 * vocabulary * tokens) / tp,
    logitElements: (tokens * model.vocabSize) / tp,
    embedding: vocabulary / tp + model.learnedPositions * model.hiddenSize,
    output: vocabulary / tp,
  };
}
