/** The price of a step, part by part: the plain form, which `StepTable` is held against. */
import { memorySharing } from './sharing.js';
import type { MoeModel } from '../model/model.js';
import { binaryLogarithm } from '../units/same-everywhere.js';
import type { StepConstants } from './constants.js';
import { knownKinds, type LayerKinds } from './layer-amounts.js';
import { endPrice, layerPrice, type EndPrice, type LayerPrice, type PriceContext } from './layer-prices.js';
import { stageSeconds } from './exchange.js';
import { linksOfCluster } from './links.js';
import { nextStage } from './rank-order.js';
import { generationOf, ratesOf } from './rates.js';
import { microBatchesOf, type RunSetting } from './run-setting.js';
import { knownStages, type StageKind } from './stage-layers.js';

/** Where a step's seconds go, on the slowest stage. */
export interface StepParts {
  /** Of the whole step. */
  readonly seconds: number;
  /** Matrix products but those of experts, s. */
  readonly gemm: number;
  /** Experts' products, s. */
  readonly grouped: number;
  /** Attention's core, s. */
  readonly attention: number;
  /** Kernels that memory bounds, and the ends of the model, s. */
  readonly memory: number;
  /** Communication of tensor parallelism that nothing hides, s. */
  readonly tp: number;
  /** Communication of context parallelism that nothing hides, s. */
  readonly cp: number;
  /** Experts' exchanges that nothing hides, s. */
  readonly ep: number;
  /** Gradients and weights between replicas that nothing hides, s. */
  readonly dp: number;
  /** Transfers between stages that nothing hides, s. */
  readonly pp: number;
  /** Stages that wait for one another, s. */
  readonly bubble: number;
  /** The optimizer's update, s. */
  readonly optimizer: number;
  /** What the host takes to launch beyond what kernels take, s. */
  readonly host: number;
  /** What the slowest rank of many adds, s. */
  readonly straggler: number;
}

interface Pieces {
  readonly layers: readonly LayerPrice[];
  readonly ends: EndPrice;
}

/** One micro-batch on one kind of stage. */
interface StagePrice {
  readonly forward: number;
  readonly backward: number;
  readonly weightGradient: number;
  readonly dense: number;
  readonly expert: number;
  readonly network: number;
}

/** A step before it is told apart: the slowest stage, and what the step takes besides its passes. */
interface Run {
  readonly kind: StageKind;
  readonly pieces: Pieces;
  readonly microBatches: number;
  readonly period: number;
  readonly filling: number;
  readonly between: number;
  readonly exposedDp: number;
  readonly optimizer: number;
  readonly straggler: number;
  readonly seconds: number;
}

/** What all prices of a setting depend on. Throws `InputError` for a precision that the device lacks. */
export function priceContext(setting: RunSetting, constants: StepConstants): PriceContext {
  const { model, cluster, precision, stack, imbalance } = setting;
  return {
    model,
    links: linksOfCluster(cluster),
    rates: ratesOf(cluster.device, precision, constants),
    constants,
    fused: stack === 'fused' && generationOf(cluster.device) === 'blackwell',
    imbalance: imbalance === 'natural' ? constants.naturalImbalance : imbalance,
    setting,
  };
}

function piecesOf(context: PriceContext, kinds: LayerKinds, { layout, microBatch, sequence }: RunSetting): Pieces {
  const { tp, cp, ep, etp } = layout;
  const share = { tp, cp, ep, etp, tokens: (microBatch * sequence) / cp };
  return { layers: kinds.kinds.map((kind) => layerPrice(context, kind, share)), ends: endPrice(context, share) };
}

function runOf(context: PriceContext, setting: RunSetting): Run {
  const { model, sequence, schedule, layout, virtualStages, microBatch } = setting;
  const { links, constants: c, rates } = context;
  const { pp } = layout;
  const kinds = knownKinds(model);
  const pieces = piecesOf(context, kinds, setting);
  const stages = knownStages(kinds, {
    ...setting,
    pp,
    multiTokenLayers: model.multiTokenLayers,
    folded: schedule === 'dualpipe-v',
  });
  const microBatches = microBatchesOf(setting);
  let slowest: { kind: StageKind; price: StagePrice } | undefined;
  let all = 0;
  let exposedDp = 0;
  let optimizer = 0;
  for (const kind of stages) {
    const price = stagePrice(model, kinds, kind, pieces);
    const whole = price.forward + price.backward;
    all += whole * kind.stages;
    if (slowest === undefined || whole > slowest.price.forward + slowest.price.backward) slowest = { kind, price };
    const shared = memorySharing({ setting, layout, links, rates, constants: c, stage: price, microBatches });
    exposedDp = Math.max(exposedDp, shared.dp);
    optimizer = Math.max(optimizer, shared.optimizer);
  }
  if (slowest === undefined) throw new RangeError('a pipeline without stages');
  const { kind, price } = slowest;
  const period = price.forward + price.backward;
  const tokens = (microBatch * sequence) / layout.cp / layout.tp;
  const gpusOfStage = layout.tp * layout.cp * layout.dp;
  const hop =
    pp > 1 ? stageSeconds(links, nextStage(links, layout, setting.rankOrder ?? 'dp-pp'), tokens, model.hiddenSize) : 0;
  const filling = bubbleSeconds({ ...price, schedule, pp, virtualStages, hop, others: all - period });
  const between = pp > 1 ? (hop * c.exposedPp * 2 + c.hostHop) * virtualStages * microBatches : 0;
  const nodes = Math.max(1, (gpusOfStage * pp) / links.domain);
  const beforeLast = microBatches * period + filling + between + exposedDp + optimizer + c.stepSeconds;
  const straggler = beforeLast * c.straggler * binaryLogarithm(nodes);
  return {
    kind,
    pieces,
    microBatches,
    period,
    filling,
    between,
    exposedDp,
    optimizer,
    straggler,
    seconds: beforeLast + straggler,
  };
}

/** A whole step, part by part. */
export function priceStep(setting: RunSetting, constants: StepConstants): StepParts {
  const { stepSeconds } = constants;
  const run = runOf(priceContext(setting, constants), setting);
  const { kind, pieces, microBatches, period, filling, between, exposedDp, optimizer, straggler, seconds } = run;
  const sum = (part: 'gemm' | 'grouped' | 'attention' | 'memory' | 'tp' | 'cp' | 'ep' | 'host'): number =>
    microBatches * kind.layers.reduce((total, count, index) => total + count * (pieces.layers[index]?.[part] ?? 0), 0);
  const parts = {
    gemm: sum('gemm'),
    grouped: sum('grouped'),
    attention: sum('attention'),
    tp: sum('tp'),
    cp: sum('cp'),
    ep: sum('ep'),
    host: sum('host') + stepSeconds,
  };
  const named = Object.values(parts).reduce((a, b) => a + b, 0) - stepSeconds;
  return {
    ...parts,
    memory: microBatches * period - named,
    dp: exposedDp,
    pp: between,
    bubble: filling,
    optimizer,
    straggler,
    seconds,
  };
}

function stagePrice(model: MoeModel, kinds: LayerKinds, kind: StageKind, { layers, ends }: Pieces): StagePrice {
  let [forward, backward, weightGradient, dense, expert, network] = [0, 0, 0, 0, 0, 0];
  const add = (price: LayerPrice | undefined, count: number): void => {
    if (price === undefined) return;
    forward += count * price.forward;
    backward += count * price.backward;
    weightGradient += count * price.weightGradient;
    dense += count * price.dense;
    expert += count * price.expert;
    network += count * price.network;
  };
  kind.layers.forEach((count, index) => add(layers[index], count));
  if (kind.first) {
    backward += ends.embedding;
    dense += ends.embeddingParameters;
  }
  if (kind.last) {
    const modules = model.multiTokenLayers;
    const heads = 1 + modules;
    forward += (heads * ends.logits + modules * ends.multiToken) / 3;
    backward += (2 * (heads * ends.logits + modules * ends.multiToken)) / 3;
    dense += ends.outputParameters;
    for (const index of kinds.multiToken) add(layers[index], modules);
  }
  return { forward, backward, weightGradient, dense, expert, network };
}

/** What a stage waits for. */
export interface Waiting extends Pick<StagePrice, 'forward' | 'backward' | 'weightGradient'> {
  readonly schedule: RunSetting['schedule'];
  readonly pp: number;
  readonly virtualStages: number;
  /** One transfer from stage to stage. */
  readonly hop: number;
  /** One micro-batch on all other stages. */
  readonly others: number;
}

/**
 * Time in which the slowest stage waits for the others to fill and drain. Interleaving divides it; zero-bubble (arXiv
 * 2401.10241, ZB-H1) fills two thirds of it with weight gradients, DualPipe (DeepSeek-V3, table 2) (pp/2-1)(FB+B-3W).
 */
export function bubbleSeconds(waiting: Waiting): number {
  const { schedule, pp, virtualStages, hop, others, forward, backward, weightGradient } = waiting;
  if (pp <= 1) return 0;
  const hops = 2 * (pp - 1) * hop;
  switch (schedule) {
    case '1f1b':
    case 'interleaved':
      return others / virtualStages + hops;
    case 'zero-bubble':
      return Math.max(0, others - 2 * (pp - 1) * weightGradient) + hops;
    case 'dualpipe':
      return Math.max(0, pp / 2 - 1) * Math.max(0, forward + 2 * backward - 3 * weightGradient) + hops;
    // As many stages again, of half the layers each (deepseek-ai/DualPipe, README).
    case 'dualpipe-v':
      return ((pp - 1) / 2) * Math.max(0, forward + 2 * backward - 3 * weightGradient) + 2 * hops;
  }
}
