/** Seconds of one layer of each kind, and of the ends of the model, for one micro-batch on one rank. */
import { keyValueWidth, type MoeModel } from '../model/model.js';
import { cubicSum } from '../units/same-everywhere.js';
import type { StepConstants } from './constants.js';
import { contextSeconds, expertSeconds, routeSeconds, tensorSeconds } from './exchange.js';
import { endAmounts, layerAmounts, type LayerAmounts, type LayerKind, type RankShare } from './layer-amounts.js';
import { ranksInDomain, type Links } from './links.js';
import type { Rates } from './rates.js';
import { isDual, type DispatchKind, type RecomputeSetting, type RunSetting } from './run-setting.js';

/** Forward and backward seconds by what takes them; communication is the part that nothing hides. */
export interface LayerPrice {
  readonly gemm: number;
  readonly grouped: number;
  readonly attention: number;
  readonly memory: number;
  readonly tp: number;
  readonly cp: number;
  readonly ep: number;
  readonly host: number;
  readonly forward: number;
  readonly backward: number;
  /** Seconds for which the network between domains is busy with what the passes exchange. */
  readonly network: number;
  /** The part of the backward that gives weights their gradients. */
  readonly weightGradient: number;
  /** Parameters on the rank. */
  readonly dense: number;
  readonly expert: number;
}

/** Shares of a forward that run again in the backward. */
export interface Again {
  readonly projections: number;
  readonly core: number;
  readonly dense: number;
  readonly experts: number;
  readonly elements: number;
  readonly exchange: number;
}

const nothing: Again = { projections: 0, core: 0, dense: 0, experts: 0, elements: 0, exchange: 0 };

/** Elements of norms and of activations are about a fifth of those between products each. */
const elementShare = 0.2;

export function runAgain(recompute: RecomputeSetting): Again {
  if (recompute === 'none') return nothing;
  if (recompute === 'full') return { projections: 1, core: 1, dense: 1, experts: 1, elements: 1, exchange: 1 };
  const modules = recompute === 'selective' ? (['core_attn'] as const) : recompute;
  const has = (module: (typeof modules)[number]): boolean => modules.includes(module);
  return {
    projections: 0,
    core: has('core_attn') ? 1 : 0,
    dense: has('mlp') ? 1 : 0,
    experts: has('moe') ? 1 : 0,
    exchange: has('moe') ? 1 : 0,
    elements:
      elementShare * (Number(has('layernorm')) + Number(has('moe_act')) + Number(has('mlp'))) +
      Number(has('moe')) * 0.5,
  };
}

/** What prices of layers depend on beside the layout. */
export interface PriceContext {
  readonly model: MoeModel;
  readonly links: Links;
  readonly rates: Rates;
  readonly constants: StepConstants;
  /** Whether the experts' kernels and the step's graph are those of the `fused` stack. */
  readonly fused: boolean;
  /** Rows of the fullest rank's experts over the mean. */
  readonly imbalance: number;
  readonly setting: Pick<
    RunSetting,
    | 'sequence'
    | 'precision'
    | 'recompute'
    | 'dispatcher'
    | 'overlap'
    | 'stack'
    | 'kernels'
    | 'frozen'
    | 'capacity'
    | 'schedule'
  >;
}

/** Bytes that products move: inputs and results in 16 bits, weights, and sums of gradients in 32 bits. */
const weightBytes = { forward: 2, backward: 2 + 2 * 4 };

/** Bytes of a weight that passes move; those that do not learn have no gradients. */
export const movedBytes = (frozen: boolean): { readonly forward: number; readonly backward: number } =>
  frozen ? { forward: weightBytes.forward, backward: weightBytes.forward } : weightBytes;

/** Host time of a layer that launches parts of its forward again; most of a layer's kernels are the experts'. */
export const launchedAgain = (
  launching: number,
  projections: number,
  exchange: number,
  { hostAgain }: StepConstants,
): number => launching * (1 + (hostAgain * (projections + 2 * exchange)) / 3);

/** What is seen of the time in which products move weights: a share of the products' own time runs beside it. */
export const shownWeights = (moving: number, products: number, { weightsBeside }: StepConstants): number =>
  Math.max(0, moving - weightsBeside * products);

/** Shares of communication that nothing hides. */
export const shownOfTp = ({ overlap }: Pick<RunSetting, 'overlap'>, c: StepConstants): number =>
  overlap.tp ? c.exposedTp : c.exposedTpPlain;
/**
 * Share of the experts' exchange of so many seconds that is seen beside so many of work: at least what its bytes need
 * at the rate of the link, beyond the work.
 */
export function shownOfEp(
  { overlap, schedule, dispatcher }: Pick<RunSetting, 'overlap' | 'schedule' | 'dispatcher'>,
  c: StepConstants,
  seconds: number,
  work: number,
): number {
  if (seconds === 0) return 0;
  const alone = dispatcher === 'gathered' ? c.exposedGathered : c.exposedEp;
  const shown = isDual(schedule) || overlap.ep ? (alone * c.exposedEpOverlapped) / c.exposedEp : alone;
  return Math.max(shown, pricedRate(dispatcher, c) - work / seconds);
}

/** Share of the link's rate at which the experts' exchange is priced: what a fit found, but for a ring's. */
export const pricedRate = (dispatcher: DispatchKind, { epOuter }: StepConstants): number =>
  dispatcher === 'gathered' ? 1 : epOuter;

/**
 * Seconds for which the network between domains of links is busy at its own rate with what a layer's passes exchange:
 * so many of context parallelism, and so many of the experts' rows as they are priced.
 */
export function networkSeconds(
  { links }: PriceContext,
  { tp, cp, ep, etp }: Pick<Shared, 'tp' | 'cp' | 'ep' | 'etp'>,
  ofContext: number,
  ofExperts: number,
): number {
  const crosses = (ranks: number, stride: number): boolean => ranksInDomain(links, ranks, stride) < ranks;
  return (crosses(cp, tp) ? ofContext : 0) + (crosses(ep, etp) ? ofExperts : 0);
}

/** Host time of one layer and micro-batch, forward and backward. */
function hostSeconds({ constants: c, fused, setting }: PriceContext, kind: LayerKind, localExperts: number): number {
  const { stack, precision } = setting;
  if (stack === 'compiled') return 0;
  const ofExperts = (c.hostMoe + c.hostExpert * localExperts) * (setting.capacity ? c.hostCapacity : 1);
  const blocks = Number(kind.mixer !== 'none') + Number(kind.feedForward === 'dense');
  const launched = kind.feedForward === 'moe' ? ofExperts : (c.hostDense * blocks) / 2;
  return (
    launched *
    (precision === 'bf16' ? 1 : c.hostQuantised) *
    (stack === 'eager' ? 1 : fused ? c.hostFused : c.hostGraphs)
  );
}

/** A layer runs as fast as the slower of host and device; both at once hide one another only in part. */
export const together = (device: number, host: number): number => cubicSum(device, host);

type Shared = RankShare & { readonly cp: number };

/** Communication of TP in one forward. */
function tensorExchange({ model, links }: PriceContext, kind: LayerKind, { tp, tokens }: RankShare): number {
  const once = tensorSeconds(links, tp, tokens, model.hiddenSize);
  const shared = kind.feedForward === 'moe' && model.sharedExpertFfn > 0;
  const blocks = Number(kind.mixer !== 'none') + Number(kind.feedForward === 'dense' || shared);
  return 2 * blocks * once;
}

/** Communication of CP in one forward: straight in the tokens. */
export function contextExchange(
  { model, links }: PriceContext,
  kind: LayerKind,
  { tp, cp, tokens }: Pick<Shared, 'tp' | 'cp' | 'tokens'>,
): number {
  if (kind.mixer !== 'attention') return 0;
  const latent = model.latentAttention;
  const keyValues =
    latent === undefined
      ? 2 * keyValueWidth(model)
      : model.attentionHeads * (latent.nopeHeadDim + latent.ropeHeadDim + latent.valueHeadDim);
  return contextSeconds(links, cp, tp, (tokens * keyValues) / tp);
}

/** To the experts and back, in a forward pass and in a backward pass. */
export function expertExchange(
  { model, links, constants }: PriceContext,
  kind: LayerKind,
  { tp, ep, etp, tokens }: RankShare,
  dispatcher: DispatchKind,
): { readonly forward: number; readonly backward: number } {
  if (kind.feedForward !== 'moe') return { forward: 0, backward: 0 };
  const exchange = { model, ep, etp, tokens: tokens / tp, links, dispatcher, constants };
  const rows = 2 * expertSeconds(exchange);
  const route = routeSeconds(exchange);
  return { forward: rows + route.forward, backward: rows + route.backward };
}

function computeSeconds(
  context: PriceContext,
  a: LayerAmounts,
): Record<'projections' | 'feedForward' | 'grouped' | 'elements', number> {
  const { rates, constants: c, setting } = context;
  // What a fused kernel keeps in registers is written and read again.
  const elementBytes = c.elementBytes * (setting.kernels === 'native' ? 2 : 1);
  // The fused kernels activate by SwiGLU (cuDNN's grouped products).
  const rowBytes = context.fused && context.model.gated ? c.quantisedRowBytesFused : c.quantisedRowBytes;
  const quantised = setting.precision === 'bf16' ? 0 : a.inputs * c.quantisedBytes + a.rowInputs * rowBytes;
  return {
    projections: a.projections / rates.gemm,
    feedForward: a.feedForward / rates.gemm,
    grouped: (a.grouped / rates.grouped) * context.imbalance,
    elements: (2 * (a.elements * elementBytes + a.scanElements * c.scanBytes) + quantised) / rates.memory,
  };
}

/**
 * Rate of attention's core over that of heads of 128: a score takes an exponential and some sums beside its products,
 * as long as products of 64 elements do (FlashAttention-3, arXiv 2407.08608, figures 5 and 6: heads of 64 reach three
 * quarters of the rate of heads of 128). FlashAttention-2 comes to half of that on GPUs after Ampere (same paper), and
 * so does FlexAttention, which heads with sinks run in.
 */
function attentionShare({ model, setting, rates }: PriceContext): number {
  const { latentAttention: latent, headDim, attentionSinks } = model;
  const width = latent === undefined ? headDim : (latent.nopeHeadDim + latent.ropeHeadDim + latent.valueHeadDim) / 2;
  const older = rates.generation !== 'ampere' && (attentionSinks || setting.kernels !== 'engine');
  return (width / (width + 64)) * 1.5 * (older ? 0.5 : 1);
}

/** What one forward of a layer takes, by its parts; each is straight in the tokens, what says so does not grow. */
export interface LayerWork {
  readonly projections: number;
  readonly feedForward: number;
  readonly grouped: number;
  readonly elements: number;
  /** Attention's core, and its own backward. */
  readonly attention: number;
  readonly attentionBackward: number;
  /** Communication of one forward, hidden or not. */
  readonly tp: number;
  readonly cp: number;
  readonly ep: number;
  /** Of the experts' exchange in one backward. */
  readonly epBackward: number;
  /** Parameters on the rank; does not grow. */
  readonly dense: number;
  readonly expert: number;
  /** Host time of forward and backward; does not grow. */
  readonly launching: number;
}

/** A layer's work on one rank. */
export function layerWork(context: PriceContext, kind: LayerKind, share: Shared): LayerWork {
  const { model, rates, setting } = context;
  const a = layerAmounts(model, kind, setting.sequence, share);
  const exchange = expertExchange(context, kind, share, setting.dispatcher);
  const ofHead = attentionShare(context);
  return {
    ...computeSeconds(context, a),
    tp: tensorExchange(context, kind, share),
    cp: contextExchange(context, kind, share),
    ep: exchange.forward,
    epBackward: exchange.backward,
    attention: a.attention / (rates.attentionForward * ofHead),
    // Five products backward to two forward.
    attentionBackward: (2.5 * a.attention) / (rates.attentionBackward * ofHead),
    dense: a.dense,
    expert: a.expert,
    launching: hostSeconds(context, kind, model.experts / share.ep),
  };
}

/** A layer's price. */
export function layerPrice(context: PriceContext, kind: LayerKind, share: Shared): LayerPrice {
  const { rates, constants: c, setting } = context;
  const work = layerWork(context, kind, share);
  const again = runAgain(setting.recompute);
  // Gradients of inputs, and of weights that learn.
  const learnt = setting.frozen ? 1 : 2;
  const attention = {
    forward: work.attention,
    backward: work.attentionBackward + again.core * work.attention,
  };
  const gemm = {
    forward: work.projections + work.feedForward,
    backward: (learnt + again.projections) * work.projections + (learnt + again.dense) * work.feedForward,
  };
  const grouped = { forward: work.grouped, backward: (learnt + again.experts) * work.grouped };
  const bytes = movedBytes(setting.frozen);
  const weights = (pass: 'forward' | 'backward'): number =>
    shownWeights((work.dense * bytes[pass]) / rates.memory, gemm[pass], c) +
    shownWeights((work.expert * bytes[pass]) / rates.memory, grouped[pass], c);
  const memory = {
    forward: work.elements + weights('forward'),
    backward: (2 + again.elements) * work.elements + weights('backward'),
  };
  const tpOnce = work.tp * shownOfTp(setting, c);
  const tp = { forward: tpOnce, backward: (1 + again.projections) * tpOnce };
  const cp = {
    forward: Math.max(c.exposedCp * work.cp, work.cp - attention.forward),
    backward: Math.max(c.exposedCp * 2 * work.cp, 2 * work.cp - attention.backward),
  };
  const computed = (pass: 'forward' | 'backward'): number =>
    gemm[pass] + grouped[pass] + attention[pass] + memory[pass];
  const exchanged = {
    forward: work.ep * context.imbalance,
    backward: (again.exchange * work.ep + work.epBackward) * context.imbalance,
  };
  const hiders = computed('forward') + computed('backward');
  const shownEp = shownOfEp(setting, c, exchanged.forward + exchanged.backward, hiders);
  const ep = { forward: exchanged.forward * shownEp, backward: exchanged.backward * shownEp };
  const sum = (pass: 'forward' | 'backward'): number => computed(pass) + tp[pass] + cp[pass] + ep[pass];
  const both = (part: { readonly forward: number; readonly backward: number }): number => part.forward + part.backward;
  const device = sum('forward') + sum('backward');
  const host = together(device, launchedAgain(work.launching, again.projections, again.exchange, c)) - device;
  return {
    gemm: both(gemm),
    grouped: both(grouped),
    attention: both(attention),
    memory: both(memory),
    tp: both(tp),
    cp: both(cp),
    ep: both(ep),
    host,
    forward: sum('forward') + (host * sum('forward')) / device,
    backward: sum('backward') + (host * sum('backward')) / device,
    network: networkSeconds(context, share, 3 * work.cp, both(exchanged) * pricedRate(setting.dispatcher, c)),
    weightGradient: setting.frozen ? 0 : gemm.forward + grouped.forward,
    dense: work.dense,
    expert: work.expert,
  };
}

/** Prices of the ends, forward and backward together. */
export interface EndPrice {
  readonly embedding: number;
  readonly logits: number;
  readonly embeddingParameters: number;
  readonly outputParameters: number;
  /** Modules of multi-token prediction beside their layer and their logits: a projection of 2h to h each. */
  readonly multiToken: number;
}

export function endPrice(
  { model, rates, constants: c }: PriceContext,
  share: Pick<RankShare, 'tp' | 'tokens'>,
): EndPrice {
  const e = endAmounts(model, share);
  const logits =
    (3 * e.logits) / rates.logits +
    (e.logitElements * c.logitBytes + e.output * (weightBytes.forward + weightBytes.backward)) / rates.memory;
  const own = (share.tokens / share.tp) * model.hiddenSize;
  return {
    // Rows are read and written, and their gradient is added in 32 bits.
    embedding: (own * (2 * 2 + 2 + 8)) / rates.memory,
    logits,
    embeddingParameters: e.embedding,
    outputParameters: e.output,
    multiToken: (3 * 4 * own * model.hiddenSize) / rates.gemm,
  };
}
