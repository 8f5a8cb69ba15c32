/** The shape of a Mixture-of-Experts decoder: all that its sizes, FLOPs and computation depend on, and no weights. */
import { InputError } from '../units/errors.js';
import { limits } from '../units/limits.js';

/** Families by Hugging Face `model_type`; `generic` is a shape of one's own. */
export const modelFamilies = [
  'mixtral',
  'qwen2_moe',
  'qwen3_moe',
  'olmoe',
  'deepseek_v2',
  'deepseek_v3',
  'kimi_k2',
  'glm4_moe',
  'dbrx',
  'gpt_oss',
  'llama4',
  'minimax_m2',
  'glm4_moe_lite',
  'ernie4_5_moe',
  'phimoe',
  'granitemoe',
  'hunyuan_v1_moe',
  'bailing_moe',
  'dots1',
  'deepseek',
  'grok',
  // without experts
  'llama',
  'mistral',
  'qwen2',
  'qwen3',
  'nemotron',
  'gpt',
  // decoders without experts of other families, which are planned with
  'dense',
  'generic',
] as const;
export type ModelFamily = (typeof modelFamilies)[number];

/** Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434). */
export interface LatentAttention {
  /** Rank of the query's low-rank projection; absent: queries are projected in full. */
  readonly queryRank?: number;
  /** Rank of the projection that keys and values share. */
  readonly keyValueRank: number;
  /** Width per head of the part of query and key without position. */
  readonly nopeHeadDim: number;
  /** Width per head of the part with rotary position; keys share one across heads. */
  readonly ropeHeadDim: number;
  /** Width per head of the values. */
  readonly valueHeadDim: number;
}

/** Attention that sees only near tokens, on some layers. */
export interface AttentionWindow {
  /** sliding: the last `tokens` tokens; chunked: the tokens so far of the own chunk of `tokens`. */
  readonly kind: 'sliding' | 'chunked';
  readonly tokens: number;
  /** By layer: whether the window holds there. */
  readonly layers: readonly boolean[];
}

/**
 * How rotary frequencies are rescaled for sequences longer than those of a first training, as transformers'
 * `ROPE_INIT_FUNCTIONS` do. yarn: arXiv 2309.00071; llama3: of Llama 3.1. Cosines and sines are multiplied by
 * `attentionFactor` (yarn).
 */
export type RopeScaling =
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Whether the bounds of the ramp are rounded to whole dimensions. */
      readonly truncate: boolean;
      readonly attentionFactor: number;
    }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly originalPositions: number;
      readonly lowFactor: number;
      readonly highFactor: number;
    };

/**
 * SwiGLU of gpt-oss: gates are bounded by `limit` from above, ups on both sides; (up + 1) * gate * sigmoid(alpha *
 * gate).
 */
export interface ClampedSwiglu {
  readonly alpha: number;
  readonly limit: number;
}

/** Experts in groups of which a token may visit some (DeepSeek-V2, arXiv 2405.04434, 2.1.3). */
export interface ExpertGroups {
  readonly groups: number;
  /** Groups that a token's experts come from. */
  readonly chosen: number;
  /** What a group is chosen by: its largest score, or the sum of its two largest. */
  readonly by: 'largest' | 'twoLargest';
}

export interface MoeModel {
  readonly name: string;
  readonly family: ModelFamily;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly attentionHeads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Routed experts per MoE layer; 0 in a model without any. */
  readonly experts: number;
  /** Experts per token. */
  readonly topK: number;
  /** Inner width of one routed expert. */
  readonly expertFfn: number;
  /** Joint inner width of the experts that every token visits; 0 for none. */
  readonly sharedExpertFfn: number;
  /** Whether the shared expert's output is multiplied by a learned sigmoid gate (Qwen2-MoE). */
  readonly sharedExpertGate: boolean;
  /** Inner width of the feed-forward of layers without experts; 0 when there are none. */
  readonly denseFfn: number;
  /** By layer: true for experts, false for a dense feed-forward. */
  readonly moeLayers: readonly boolean[];
  /** True: gate, up and down projections (SwiGLU); false: up and down only. */
  readonly gated: boolean;
  /** Hugging Face's name of the activation, as `silu`. */
  readonly activation: string;
  readonly scoring: 'softmax' | 'sigmoid';
  /** Whether the k chosen weights are scaled to sum to one. */
  readonly normTopK: boolean;
  /** Factor on the routed experts' weights (DeepSeek's routed_scaling_factor). */
  readonly routedScaling: number;
  readonly auxLossCoefficient: number;
  /**
   * pooled: `load_balancing_loss_func` of transformers over all layers; none: the family's model there has no auxiliary
   * loss.
   */
  readonly auxLoss: 'pooled' | 'none';
  /**
   * A bias on the scores by which experts are chosen, which is no part of their weights and has no gradient
   * (DeepSeek-V3).
   */
  readonly selectionBias: boolean;
  /** Groups that limit the choice of experts; absent: none. */
  readonly expertGroups?: ExpertGroups;
  /** RMS norm on queries and keys: none, over each head (Qwen3), or over all heads together (OLMoE). */
  readonly qkNorm: 'none' | 'perHead' | 'allHeads';
  /** Biases of the attention projections. */
  readonly attentionBias: 'none' | 'queryKeyValue' | 'all';
  /** Biases in experts and router (gpt-oss). */
  readonly expertBias: boolean;
  /** How experts activate, where it is not the gated activation itself. */
  readonly clampedSwiglu?: ClampedSwiglu;
  /** One learned logit a head beside the scores, which takes probability and has no value (gpt-oss). */
  readonly attentionSinks: boolean;
  /** Biases in dense feed-forwards (GPT-3). */
  readonly feedForwardBias: boolean;
  /** Norms are LayerNorms with a bias beside the weight. */
  readonly normBias: boolean;
  /** Norms behind attention and feed-forward too, before the residual sum (Grok-1). */
  readonly postNorms: boolean;
  /** Bias of the output projection (Phi-3.5-MoE). */
  readonly outputBias: boolean;
  /** Positions with a learned embedding; 0 with rotary ones. */
  readonly learnedPositions: number;
  /** Queries, keys and values are clipped to [-clipQkv, clipQkv]. */
  readonly clipQkv?: number;
  /** Whether the output layer is the embedding. */
  readonly tieEmbeddings: boolean;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Hugging Face's rope_type; anything but `default` changes the angles. */
  readonly ropeType: string;
  /** What `ropeType` says, where it is known here. */
  readonly ropeScaling?: RopeScaling;
  /** Whether elements 2i and 2i + 1 of a head turn together, not i and i + width / 2. */
  readonly ropeInterleaved: boolean;
  /** Elements of a head that turn, the first ones; absent: all of them. */
  readonly rotaryDim?: number;
  /** Factor on attention's scores beside 1 / sqrt(width of a key). */
  readonly scoreScaling: number;
  /** Latent attention; absent: heads of keys and values. */
  readonly latentAttention?: LatentAttention;
  readonly window?: AttentionWindow;
  /**
   * Extra layers that predict further tokens (DeepSeek-V3's MTP modules), each with a layer and an output of its own.
   */
  readonly multiTokenLayers: number;
  /** Longest sequence that the configuration names. */
  readonly maxPositions?: number;
  /** The padding token: its embedding row gets no gradient in Hugging Face. */
  readonly padTokenId?: number;
  /** Standard deviation of initial weights. */
  readonly initializerRange: number;
}

type Given = 'name' | 'hiddenSize' | 'layers' | 'attentionHeads' | 'vocabSize' | 'experts' | 'topK' | 'expertFfn';

/** What has to be said of a model; the rest has defaults (see `completeModel`). */
export type ModelShape = Pick<MoeModel, Given> & Partial<Omit<MoeModel, Given>>;

/**
 * Fills in the defaults: Mixtral's choices (gated SiLU experts on every layer, softmax, renormalised top-k), as many
 * key-value heads as heads, headDim = hidden / heads. Throws `InputError` for sizes that contradict each other.
 */
export function completeModel(shape: ModelShape): MoeModel {
  checkSizes(shape);
  const { hiddenSize, layers, attentionHeads, keyValueHeads = attentionHeads } = shape;
  const headDim = shape.headDim ?? hiddenSize / attentionHeads;
  checkHeads(shape, { headDim, keyValueHeads });
  const moeLayers = Array.from({ length: layers }, () => true);
  const model: MoeModel = { ...usual, moeLayers, ...shape, keyValueHeads, headDim };
  if (model.moeLayers.length !== layers || (model.window !== undefined && model.window.layers.length !== layers)) {
    throw wrong(
      'layers',
      `${layers} layers, but another number of them is described`,
      `${layers} entries, one per layer`,
    );
  }
  if (model.moeLayers.includes(true)) checkExperts(model);
  if (model.moeLayers.includes(false) && model.denseFfn < 1) {
    throw wrong('denseFfn', 'layers without experts have no feed-forward width', 'at least 1');
  }
  return model;
}

/** Of what most models do alike. */
const usual = {
  family: 'generic',
  sharedExpertFfn: 0,
  sharedExpertGate: false,
  denseFfn: 0,
  gated: true,
  activation: 'silu',
  scoring: 'softmax',
  normTopK: true,
  routedScaling: 1,
  auxLossCoefficient: 0.01,
  auxLoss: 'pooled',
  selectionBias: false,
  ropeInterleaved: false,
  scoreScaling: 1,
  qkNorm: 'none',
  attentionBias: 'none',
  expertBias: false,
  attentionSinks: false,
  feedForwardBias: false,
  normBias: false,
  postNorms: false,
  outputBias: false,
  learnedPositions: 0,
  tieEmbeddings: false,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  ropeType: 'default',
  multiTokenLayers: 0,
  initializerRange: 0.02,
} as const;

/** Throws `InputError` for heads that do not divide. */
function checkHeads(
  { hiddenSize, attentionHeads }: ModelShape,
  { headDim, keyValueHeads }: Pick<MoeModel, 'headDim' | 'keyValueHeads'>,
): void {
  if (!Number.isInteger(headDim)) {
    throw wrong(
      'headDim',
      `${attentionHeads} heads do not divide hidden size ${hiddenSize}`,
      'headDim, when it is not their quotient',
    );
  }
  if (attentionHeads % keyValueHeads !== 0) {
    throw wrong(
      'keyValueHeads',
      `${keyValueHeads} key-value heads do not divide ${attentionHeads} heads`,
      'a divisor of the number of heads',
    );
  }
}

/** Throws `InputError` for experts, picks and groups of experts that contradict each other. */
function checkExperts({ experts, topK, expertFfn, expertGroups }: MoeModel): void {
  if (topK < 1 || topK > experts) {
    throw wrong('topK', `top-${topK} of ${experts} experts`, `a number from 1 to ${experts}`);
  }
  if (expertFfn < 1) throw wrong('expertFfn', 'the experts have no width', 'at least 1');
  if (expertGroups === undefined) return;
  const { groups, chosen } = expertGroups;
  if (experts % groups !== 0 || chosen > groups)
    throw wrong(
      'expertGroups',
      `${chosen} of ${groups} groups of ${experts} experts`,
      'groups that divide the experts, and no more chosen than there are',
    );
  if ((experts / groups) * chosen < topK)
    throw wrong(
      'expertGroups',
      `top-${topK} of ${chosen} groups of ${experts / groups} experts`,
      'no more picks than the chosen groups have experts',
    );
}

const { layers, experts, width, vocabulary } = limits;

/** Bounds of what is counted, by name; all but those of `Given` may be absent. */
const sizes: Readonly<Partial<Record<keyof ModelShape, readonly [min: number, max: number]>>> = {
  layers: [1, layers],
  experts: [0, experts],
  topK: [0, experts],
  hiddenSize: [1, width],
  attentionHeads: [1, width],
  keyValueHeads: [1, width],
  headDim: [1, width],
  expertFfn: [0, width],
  sharedExpertFfn: [0, width],
  denseFfn: [0, width],
  vocabSize: [1, vocabulary],
  multiTokenLayers: [0, layers],
  maxPositions: [1, limits.sequence],
};

/** Before anything is made of so many of something. */
function checkSizes(shape: ModelShape): void {
  for (const [key, [min, max]] of Object.entries(sizes)) {
    const value = shape[key as keyof ModelShape];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || Number(value) < min || Number(value) > max)
      throw wrong(key, `${JSON.stringify(value)} is out of range`, `a whole number from ${min} to ${max}`);
  }
  const all = shape.layers * shape.experts;
  if (all > limits.expertsOfModel)
    throw wrong(
      'experts',
      `${shape.experts} experts in each of ${shape.layers} layers are ${all}`,
      `at most ${limits.expertsOfModel}`,
    );
}

const wrong = (path: string, message: string, expected: string): InputError =>
  new InputError(message, { path, expected });

/** Width of all heads' queries together. */
export const queryWidth = (model: MoeModel): number =>
  model.attentionHeads *
  (model.latentAttention === undefined
    ? model.headDim
    : model.latentAttention.nopeHeadDim + model.latentAttention.ropeHeadDim);

/** Width of all heads' keys (or values) together; without latent attention. */
export const keyValueWidth = (model: MoeModel): number => model.keyValueHeads * model.headDim;
