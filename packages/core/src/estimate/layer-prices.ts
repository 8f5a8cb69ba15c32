/** Seconds of one layer of each kind, and of the ends of the model, for one micro-batch on one rank. */
import { keyValueWidth, type MoeModel } from '../model/model.js';
import type { StepConstants } from './constants.js';
import { contextSeconds, expertSeconds, tensorSeconds } from './exchange.js';
import { endAmounts, layerAmounts, type LayerAmounts, type LayerKind, type RankShare } from './layer-amounts.js';
import type { Links } from './links.js';
import type { Rates } from './rates.js';
import type { RecomputeSetting, RunSetting } from './run-setting.js';

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
  /** The part of the backward that gives weights their gradients. */
  readonly weightGradient: number;
  /** Parameters on the rank. */
  readonly dense: number;
  readonly expert: number;
}

/** Shares of a forward that run again in the backward. */
interface Again {
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
  readonly grace: boolean;
  /** Whether the experts' kernels and the step's graph are those of the `fused` stack. */
  readonly fused: boolean;
  /** Rows of the fullest rank's experts over the mean. */
  readonly imbalance: number;
  readonly setting: Pick<
    RunSetting,
    'sequence' | 'precision' | 'recompute' | 'dispatcher' | 'overlap' | 'stack' | 'frozen' | 'capacity' | 'schedule'
  >;
}

/** Bytes that products move: inputs and results in 16 bits, weights, and sums of gradients in 32 bits. */
const weightBytes = { forward: 2, backward: 2 + 2 * 4 };

/** Host time of one layer and micro-batch, forward and backward. */
function hostSeconds(
  { constants: c, grace, fused, setting }: PriceContext,
  kind: LayerKind,
  localExperts: number,
): number {
  const { stack, precision } = setting;
  if (stack === 'compiled') return 0;
  const ofExperts = (c.hostMoe + c.hostExpert * localExperts) * (setting.capacity ? c.hostCapacity : 1);
  const blocks = Number(kind.mixer !== 'none') + Number(kind.feedForward === 'dense');
  const launched = kind.feedForward === 'moe' ? ofExperts : (c.hostDense * blocks) / 2;
  return (
    launched *
    (precision === 'bf16' ? 1 : c.hostQuantised) *
    (stack === 'eager' ? 1 : fused ? c.hostFused : c.hostGraphs) *
    (grace ? c.hostGrace : 1)
  );
}

/** A layer runs as fast as the slower of host and device; both at once hide one another only in part. */
const together = (device: number, host: number): number => Math.cbrt(device ** 3 + host ** 3);

interface Exchange {
  readonly tp: number;
  readonly cp: number;
  readonly ep: number;
}

/** Communication of one forward. */
function exchangeOf(context: PriceContext, kind: LayerKind, share: RankShare & { readonly cp: number }): Exchange {
  const { model, links, constants, setting } = context;
  const { tp, cp, ep, etp, tokens } = share;
  const once = tensorSeconds(links, tp, tokens, model.hiddenSize);
  const moe = kind.feedForward === 'moe';
  const blocks =
    Number(kind.mixer !== 'none') + Number(kind.feedForward === 'dense' || (moe && model.sharedExpertFfn > 0));
  const latent = model.latentAttention;
  const keyValues =
    latent === undefined
      ? 2 * keyValueWidth(model)
      : model.attentionHeads * (latent.nopeHeadDim + latent.ropeHeadDim + latent.valueHeadDim);
  return {
    tp: 2 * blocks * once,
    cp: kind.mixer === 'attention' ? contextSeconds(links, cp, tp, (tokens * keyValues) / tp) : 0,
    ep: moe
      ? 2 * expertSeconds({ model, ep, etp, tokens: tokens / tp, links, dispatcher: setting.dispatcher, constants })
      : 0,
  };
}

function computeSeconds(
  context: PriceContext,
  a: LayerAmounts,
): Record<'projections' | 'feedForward' | 'grouped' | 'elements', number> {
  const { rates, constants: c, setting } = context;
  // The fused kernels activate by SwiGLU (cuDNN's grouped products).
  const rowBytes = context.fused && context.model.gated ? c.quantisedRowBytesFused : c.quantisedRowBytes;
  const quantised = setting.precision === 'bf16' ? 0 : a.inputs * c.quantisedBytes + a.rowInputs * rowBytes;
  return {
    projections: a.projections / rates.gemm,
    feedForward: a.feedForward / rates.gemm,
    grouped: (a.grouped / rates.grouped) * context.imbalance,
    elements: (2 * (a.elements * c.elementBytes + a.scanElements * c.scanBytes) + quantised) / rates.memory,
  };
}

/** A layer's price. */
export function layerPrice(
  context: PriceContext,
  kind: LayerKind,
  share: RankShare & { readonly cp: number },
): LayerPrice {
  const { rates, constants: c, setting } = context;
  const a = layerAmounts(context.model, kind, setting.sequence, share);
  const once = computeSeconds(context, a);
  const again = runAgain(setting.recompute);
  const weights = a.dense + a.expert;
  // Gradients of inputs, and of weights that learn.
  const learnt = setting.frozen ? 1 : 2;
  const attentionForward = a.attention / rates.attentionForward;
  const attention = {
    forward: attentionForward,
    // Five products backward to two forward.
    backward: (2.5 * a.attention) / rates.attentionBackward + again.core * attentionForward,
  };
  const gemm = {
    forward: once.projections + once.feedForward,
    backward: (learnt + again.projections) * once.projections + (learnt + again.dense) * once.feedForward,
  };
  const grouped = { forward: once.grouped, backward: (learnt + again.experts) * once.grouped };
  const memory = {
    forward: once.elements + (weights * weightBytes.forward) / rates.memory,
    backward:
      (2 + again.elements) * once.elements +
      (weights * (setting.frozen ? weightBytes.forward : weightBytes.backward)) / rates.memory,
  };
  const exchange = exchangeOf(context, kind, share);
  const tpOnce = exchange.tp * (setting.overlap.tp ? c.exposedTp : c.exposedTpPlain);
  const tp = { forward: tpOnce, backward: (1 + again.projections) * tpOnce };
  const cp = {
    forward: Math.max(c.exposedCp * exchange.cp, exchange.cp - attention.forward),
    backward: Math.max(c.exposedCp * 2 * exchange.cp, 2 * exchange.cp - attention.backward),
  };
  const epShown = setting.overlap.ep || setting.schedule === 'dualpipe' ? c.exposedEpOverlapped : c.exposedEp;
  const epOnce = exchange.ep * epShown * context.imbalance;
  const ep = { forward: epOnce, backward: (1 + again.exchange) * epOnce };
  const sum = (pass: 'forward' | 'backward'): number =>
    gemm[pass] + grouped[pass] + attention[pass] + memory[pass] + tp[pass] + cp[pass] + ep[pass];
  const both = (part: { readonly forward: number; readonly backward: number }): number => part.forward + part.backward;
  const device = sum('forward') + sum('backward');
  const launching = hostSeconds(context, kind, context.model.experts / share.ep);
  const host = together(device, launching) - device;
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
    weightGradient: setting.frozen ? 0 : gemm.forward + grouped.forward,
    dense: a.dense,
    expert: a.expert,
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
