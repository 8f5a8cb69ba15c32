/**
 * Work of one layer on one rank and one micro-batch, in FLOPs and bytes of memory, balanced routing. Layers of a kind
 * are alike, so a model's step needs these once a kind.
 */
import { layerFlops } from '../model/flops.js';
import { keyValueWidth, queryWidth, type MoeModel } from '../model/model.js';
import { layerParameters } from '../model/parameters.js';
import { isHybrid, rowWidth, type HybridModel } from './hybrid-models.js';

/** What layers differ in, as far as their time does. */
export interface LayerKind {
  /** The first layer of the kind. */
  readonly layer: number;
  readonly mixer: 'attention' | 'mamba' | 'none';
  readonly feedForward: 'dense' | 'moe' | 'none';
}

/** Kinds of a model's layers. */
export interface LayerKinds {
  readonly kinds: readonly LayerKind[];
  /** By layer, the index of its kind. */
  readonly kindOf: readonly number[];
  /** Kinds of the layers of one module of multi-token prediction. */
  readonly multiToken: readonly number[];
}

/** Blocks of hybrid models, by letter. */
const blockKinds: Readonly<Record<string, Omit<LayerKind, 'layer'>>> = {
  M: { mixer: 'mamba', feedForward: 'none' },
  '*': { mixer: 'attention', feedForward: 'none' },
  E: { mixer: 'none', feedForward: 'moe' },
  '-': { mixer: 'none', feedForward: 'dense' },
};

function kindAt(model: MoeModel, layer: number): LayerKind {
  const block = isHybrid(model) ? blockKinds[model.blocks.charAt(layer)] : undefined;
  const feedForward = model.moeLayers[layer] ? 'moe' : 'dense';
  return { layer, ...(block ?? { mixer: 'attention', feedForward }) };
}

/** Layers differ in their blocks, in having experts or not, and in seeing a window or all tokens. */
function layerKinds(model: MoeModel): LayerKinds {
  const kinds: LayerKind[] = [];
  const known = new Map<string, number>();
  const kindOf = model.moeLayers.map((_, layer) => {
    const kind = kindAt(model, layer);
    const key = `${kind.mixer} ${kind.feedForward} ${model.window?.layers[layer] ?? false}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    known.set(key, kinds.length);
    kinds.push(kind);
    return kinds.length - 1;
  });
  const last = kindOf.at(-1) ?? 0;
  const attention = kinds.findIndex(({ mixer }) => mixer === 'attention');
  return { kinds, kindOf, multiToken: isHybrid(model) ? [attention, last] : [last] };
}

const known = new WeakMap<MoeModel, LayerKinds>();

/** Kinds of a model's layers, kept. */
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
  /** FLOPs of attention's, or of a state-space block's, projections. */
  readonly projections: number;
  /** FLOPs of dense feed-forwards, shared experts and routers. */
  readonly feedForward: number;
  /** FLOPs of the experts' products. */
  readonly grouped: number;
  /** FLOPs of attention's core, causal. */
  readonly attention: number;
  /** Elements that kernels between products read and write. */
  readonly elements: number;
  /** Those between the products of a state-space block. */
  readonly scanElements: number;
  /** Elements of the inputs of products: what lower precisions quantise. */
  readonly inputs: number;
  /** Those of the experts' products. */
  readonly rowInputs: number;
  /** Weights on the rank, that products read and whose gradients they add to. */
  readonly dense: number;
  readonly expert: number;
}

const nothing: LayerAmounts = {
  projections: 0,
  feedForward: 0,
  grouped: 0,
  attention: 0,
  elements: 0,
  scanElements: 0,
  inputs: 0,
  rowInputs: 0,
  dense: 0,
  expert: 0,
};

/** Elements of a norm (2h) and a residual sum (3h). */
const aroundBlock = 5;

interface Place {
  readonly model: MoeModel;
  readonly layer: number;
  readonly sequence: number;
  readonly share: RankShare;
}

/** Rotary positions read and write queries and keys. */
function attentionAmounts({ model, layer, sequence, share }: Place): LayerAmounts {
  const { tp, tokens } = share;
  const own = tokens / tp;
  const flops = layerFlops(model, layer, sequence);
  const latent = model.latentAttention;
  const keys = latent === undefined ? keyValueWidth(model) : model.attentionHeads * latent.nopeHeadDim;
  return {
    ...nothing,
    projections: flops.attentionProjections * own,
    attention: flops.attentionCore * own,
    elements: own * (aroundBlock * model.hiddenSize + 2 * (queryWidth(model) + keys)),
    inputs: own * (model.hiddenSize + queryWidth(model)),
    dense: layerParameters(model, layer).attention / tp,
  };
}

/**
 * A state-space block: one product to gate, values, both state projections and steps, one back. Between them the
 * convolution, the scan and the gated norm each read and write their rows (`mamba_ssm`); the scan is bound by memory.
 */
function mambaAmounts({ model, share }: Place & { readonly model: HybridModel }): LayerAmounts {
  const { tp, tokens } = share;
  const { heads, headDim, state, groups } = model.mamba;
  const own = tokens / tp;
  const h = model.hiddenSize;
  const inner = heads * headDim;
  const projected = 2 * inner + 2 * groups * state + heads;
  const weights = h * (projected + inner);
  return {
    ...nothing,
    // Seven multiply-adds an element of the state in the scan (Megatron-LM's count).
    projections: (2 * weights + 7 * inner * state) * own,
    elements: own * aroundBlock * h,
    scanElements: own * (2 * (inner + 2 * groups * state) + 3 * inner + 3 * inner),
    inputs: own * (h + inner),
    dense: weights / tp,
  };
}

/**
 * A gated activation reads and writes 3f, another 2f; rows are permuted to experts and back, 2h each a row. Biases of
 * experts differ by row, so no product adds them: what it wrote is read and written again.
 */
function feedForwardAmounts({ model, layer, sequence, share }: Place, moe: boolean): LayerAmounts {
  const { tp, ep, etp, tokens } = share;
  const own = tokens / tp;
  const h = model.hiddenSize;
  const flops = layerFlops(model, layer, sequence);
  const { dense, sharedExperts, experts, router } = layerParameters(model, layer);
  const activated = model.gated ? 3 : 2;
  const width = rowWidth(model);
  const biased = model.expertBias ? 2 * ((activated - 1) * (model.expertFfn / etp) + width) : 0;
  const inner = moe ? model.sharedExpertFfn : model.denseFfn;
  const rows = moe ? own * model.topK * etp : 0;
  // To the experts' narrower rows and back.
  const narrowing = moe && width < h ? 2 * h * width : 0;
  return {
    ...nothing,
    feedForward: (flops.dense + flops.sharedExperts + flops.router + 2 * narrowing) * own,
    grouped: (flops.experts * own * width) / h,
    elements:
      own * (aroundBlock * h + activated * inner) + rows * (4 * width + (activated * model.expertFfn) / etp + biased),
    inputs: own * (h + inner),
    rowInputs: rows * (width + model.expertFfn / etp),
    dense: (dense + sharedExperts + narrowing) / tp + router,
    expert: (experts * width) / h / (ep * etp),
  };
}

const add = (a: LayerAmounts, b: LayerAmounts): LayerAmounts => ({
  projections: a.projections + b.projections,
  feedForward: a.feedForward + b.feedForward,
  grouped: a.grouped + b.grouped,
  attention: a.attention + b.attention,
  elements: a.elements + b.elements,
  scanElements: a.scanElements + b.scanElements,
  inputs: a.inputs + b.inputs,
  rowInputs: a.rowInputs + b.rowInputs,
  dense: a.dense + b.dense,
  expert: a.expert + b.expert,
});

export function layerAmounts(model: MoeModel, kind: LayerKind, sequence: number, share: RankShare): LayerAmounts {
  const place = { model, layer: kind.layer, sequence, share };
  const mixer =
    kind.mixer === 'attention'
      ? attentionAmounts(place)
      : kind.mixer === 'mamba' && isHybrid(model)
        ? mambaAmounts({ ...place, model })
        : nothing;
  if (kind.feedForward === 'none') return mixer;
  return add(mixer, feedForwardAmounts(place, kind.feedForward === 'moe'));
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

const wholeToken: RankShare = { tp: 1, ep: 1, etp: 1, tokens: 1 };

/** FLOPs of a token's forward and backward in Megatron-LM's convention, of hybrid models. */
export function hybridFlopsPerToken(model: HybridModel, sequence: number): number {
  const { kinds, kindOf, multiToken } = knownKinds(model);
  const ofKind = kinds.map((kind) => {
    const { projections, feedForward, grouped, attention } = layerAmounts(model, kind, sequence, wholeToken);
    const router = kind.feedForward === 'moe' ? 2 * model.hiddenSize * model.experts : 0;
    return projections + feedForward - router + grouped + attention;
  });
  const sum = (indices: readonly number[]): number => indices.reduce((total, kind) => total + (ofKind[kind] ?? 0), 0);
  const { logits } = endAmounts(model, wholeToken);
  const module = sum(multiToken) + 2 * 2 * model.hiddenSize ** 2 + logits;
  return 3 * (sum(kindOf) + logits + model.multiTokenLayers * module);
}
