/** Parameters, gradients and optimizer states of a rank, and the rules by which ranks share them. */
import type { Layout } from '../layout/layout.js';
import { greatestCommonDivisor } from '../units/divisors.js';
import { InputError } from '../units/errors.js';
import { layerParameters, countParameters, type LayerParameters } from '../model/parameters.js';
import type { MoeModel } from '../model/model.js';
import type { DType } from '../schedule/schedule.js';
import type { SharedUpTo, StateSharing } from '../schedule/state-sharing.js';
import { noElements, type Elements } from '../schedule/template-elements.js';

export const addElements = (a: Elements, b: Elements): Elements => ({
  dense: a.dense + b.dense,
  expert: a.expert + b.expert,
});

/** Weights that every TP rank holds whole where a layer's attention is latent: both down projections. */
const latentWhole = ({ latentAttention, hiddenSize }: MoeModel): number =>
  latentAttention === undefined
    ? 0
    : hiddenSize * ((latentAttention.queryRank ?? 0) + latentAttention.keyValueRank + latentAttention.ropeHeadDim);

function shareOf(model: MoeModel, layout: Layout, p: LayerParameters): Elements {
  const whole = latentWhole(model) + p.router + p.norms;
  const split = p.attention - latentWhole(model) + p.dense + p.sharedExperts;
  return { dense: whole + split / layout.tp, expert: p.experts / (layout.ep * layout.etp) };
}

const sum = (p: LayerParameters): number => p.attention + p.dense + p.sharedExperts + p.experts + p.router + p.norms;

/** A layer's weights on one rank as the model counts them: for layers that the program does not compute whole. */
export const countedElements = (model: MoeModel, layout: Layout, layer: number): Elements =>
  shareOf(model, layout, layerParameters(model, layer));

/** All weights of a layer, on no particular rank. */
export const countedLayer = (model: MoeModel, layer: number): number => sum(layerParameters(model, layer));

/**
 * Weights of a rank's share of the multi-token prediction modules: projections whole, a layer like the last, norms
 * (DeepSeek-V3, 2.2).
 */
export function multiTokenElements(model: MoeModel, layout: Layout): Elements {
  if (model.multiTokenLayers === 0) return noElements;
  const layer = countedElements(model, layout, model.layers - 1);
  const beside = countParameters(model).multiToken / model.multiTokenLayers - countedLayer(model, model.layers - 1);
  return {
    dense: model.multiTokenLayers * (layer.dense + beside),
    expert: model.multiTokenLayers * layer.expert,
  };
}

/**
 * Weights of which TransformerEngine keeps a stand-in for the gradient once it is fused into the main gradient
 * (`get_dummy_wgrad` in transformer_engine/pytorch/module/base.py): one of every shape, so those of one layer, and of
 * one expert.
 */
export const standInElements = ({ dense, expert }: Elements, localExperts: number): number =>
  dense + expert / Math.max(1, localExperts);

/** Bytes an element. */
export interface Precision {
  readonly weight: number;
  readonly gradient: number;
  /** The optimizer's own copy of the weights; 0 where it steps on the weights themselves. */
  readonly main: number;
  readonly firstMoment: number;
  readonly secondMoment: number;
}

/**
 * mixed: weights in 16 bits, gradients and AdamW's states in 32 (Megatron-Core). half: gradients in 16 bits
 * (DeepSpeed). full: all in 32 bits.
 */
export const precisions = {
  mixed: { weight: 2, gradient: 4, main: 4, firstMoment: 4, secondMoment: 4 },
  half: { weight: 2, gradient: 2, main: 4, firstMoment: 4, secondMoment: 4 },
  'bf16-moments': { weight: 2, gradient: 4, main: 4, firstMoment: 2, secondMoment: 2 },
  full: { weight: 4, gradient: 4, main: 0, firstMoment: 4, secondMoment: 4 },
} as const satisfies Record<string, Precision>;
export type PrecisionName = keyof typeof precisions;

/** What of an element lies on the device: all, or all but the optimizer's states. */
export const onDevice = (name: PrecisionName, hostStates = false): Precision =>
  hostStates ? { ...precisions[name], main: 0, firstMoment: 0, secondMoment: 0 } : precisions[name];

/** Which states are split over the ranks that hold the same parameters. */
export interface SharingRule {
  readonly weights: boolean;
  readonly gradients: boolean;
  readonly optimizer: boolean;
  readonly source: string;
}

export const sharingRules = {
  none: { weights: false, gradients: false, optimizer: false, source: 'every rank keeps all' },
  'distributed-optimizer': {
    weights: false,
    gradients: false,
    optimizer: true,
    source: 'Megatron-Core --use-distributed-optimizer: 6 + 12/d bytes a parameter (theoretical_memory_usage.py)',
  },
  zero1: {
    weights: false,
    gradients: false,
    optimizer: true,
    source: 'ZeRO stage 1 (Rajbhandari et al., arXiv 1910.02054, 5.1)',
  },
  zero2: {
    weights: false,
    gradients: true,
    optimizer: true,
    source: 'ZeRO stage 2 (arXiv 1910.02054, 5.2)',
  },
  zero3: {
    weights: true,
    gradients: true,
    optimizer: true,
    source: 'ZeRO stage 3 (arXiv 1910.02054, 5.3); a layer is gathered while the one before runs',
  },
  fsdp: {
    weights: true,
    gradients: true,
    optimizer: true,
    source: 'PyTorch FSDP2 (fully_shard): sharded weights, gradients and states, one layer gathered ahead',
  },
} as const satisfies Record<string, SharingRule>;
export type SharingName = keyof typeof sharingRules;

/** Bytes of a rank's states. */
export interface StateBytes {
  readonly weights: number;
  readonly gradients: number;
  /** Main weights and moments. */
  readonly optimizer: number;
}

/**
 * Megatron-Core's weight shards (GTP, `--tensor-parallel-num-weight-shards` over tp and its like for experts): a weight
 * and its gradient are split over so many ranks that compute with different tokens, and gathered where a layer uses it.
 */
export interface WeightShards {
  /** Ranks that a weight outside the experts is split over, beside tp. */
  readonly dense: number;
  /** Ranks that a weight of an expert is split over, beside etp. */
  readonly expert: number;
}

export const noShards: WeightShards = { dense: 1, expert: 1 };

/**
 * Throws `InputError` for shards that the layout's ranks do not divide into, and beside rules that split weights or
 * gradients over all ranks already.
 */
export function checkWeightShards({ dense, expert }: WeightShards, layout: Layout, sharing: SharingName): void {
  const wrong = (what: string, expected: string): InputError =>
    new InputError(what, { path: 'weightShards', expected });
  const { weights, gradients } = sharingRules[sharing];
  if ((weights || gradients) && (dense > 1 || expert > 1))
    throw wrong(
      `${weights ? 'weights' : 'gradients'} are split over all ranks already`,
      'no weight shards with zero2, zero3 and fsdp',
    );
  // Megatron's world is a multiple of T·P·C·G: ranks of one sequence's parts (cp) are none to split over.
  if (layout.dp % dense !== 0)
    throw wrong(`${dense} weight shards of ${layout.dp} ranks (dp)`, `a divisor of ${layout.dp}`);
  if (layout.edp % expert !== 0)
    throw wrong(
      `${expert} weight shards of ${layout.edp} ranks (edp) with the same experts`,
      `a divisor of ${layout.edp}`,
    );
}

const upToOf = ({ weights, gradients, optimizer }: SharingRule): SharedUpTo =>
  weights ? 'weights' : gradients ? 'gradients' : optimizer ? 'optimizer' : 'none';

const typeOfBytes = (bytes: number): DType => (bytes === 4 ? 'f32' : 'bf16');

/**
 * What ranks share under a rule, for the program. Weight shards gather as ZeRO 3 does, over a part of the ranks: what
 * is whole at a time is the same, what travels is less than the program says.
 */
export function stateSharing(
  sharing: SharingRule,
  { weight, gradient }: Precision,
  { dense, expert }: WeightShards = noShards,
): StateSharing {
  const upTo = upToOf(sharing);
  return {
    dense: dense > 1 ? 'weights' : upTo,
    expert: expert > 1 ? 'weights' : upTo,
    weightType: typeOfBytes(weight),
    gradientType: typeOfBytes(gradient),
  };
}

/** As many of the shards as a layout's ranks divide into: a search tries other layouts with the same shards. */
export const shardsOn = ({ dense, expert }: WeightShards, { dp, edp }: Layout): WeightShards => ({
  dense: greatestCommonDivisor(dense, dp),
  expert: greatestCommonDivisor(expert, edp),
});

export interface StateRequest {
  readonly elements: Elements;
  readonly layout: Layout;
  readonly precision: Precision;
  readonly sharing: SharingRule;
  readonly shards?: WeightShards | undefined;
}

/** Shares are rounded up to whole elements. */
export function stateBytes(request: StateRequest): StateBytes {
  const { elements, layout, precision, sharing } = request;
  const shards = shardsOn(request.shards ?? noShards, layout);
  const share = (split: boolean): number => {
    const over = split ? { dense: layout.dp * layout.cp, expert: layout.edp } : shards;
    return Math.ceil(elements.dense / over.dense) + Math.ceil(elements.expert / over.expert);
  };
  const { weight, gradient, main, firstMoment, secondMoment } = precision;
  return {
    weights: share(sharing.weights) * weight,
    gradients: share(sharing.gradients) * gradient,
    optimizer: share(sharing.optimizer) * (main + firstMoment + secondMoment),
  };
}

/** Bytes of an element's states that each rank holds, and that ranks share. */
export interface StateRates {
  readonly own: number;
  readonly shared: number;
}

/** `stateBytes` as rates: the sum of its parts, for those who ask very often. */
export function stateRates(
  { weight, gradient, main, firstMoment, secondMoment }: Precision,
  sharing: SharingRule,
): StateRates {
  const rates = { own: 0, shared: 0 };
  rates[sharing.weights ? 'shared' : 'own'] += weight;
  rates[sharing.gradients ? 'shared' : 'own'] += gradient;
  rates[sharing.optimizer ? 'shared' : 'own'] += main + firstMoment + secondMoment;
  return rates;
}
