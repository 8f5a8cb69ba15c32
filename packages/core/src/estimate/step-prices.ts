/** Prices of steps of one model on one cluster for any layout, what layouts share computed once. */
import { memorySharing } from './sharing.js';
import type { Layout } from '../layout/layout.js';
import type { StepConstants } from './constants.js';
import { knownKinds, type LayerKinds } from './layer-amounts.js';
import { endPrice, layerPrice, type EndPrice, type LayerPrice, type PriceContext } from './layer-prices.js';
import { stageSeconds } from './exchange.js';
import { linksOfCluster } from './links.js';
import { generationOf, hasGrace, ratesOf } from './rates.js';
import { microBatchesOf, type RunSetting } from './run-setting.js';
import { knownStages, type StageKind } from './stage-layers.js';

/** Where a step's seconds go, on the slowest stage. */
export interface StepParts {
  readonly seconds: number;
  readonly gemm: number;
  readonly grouped: number;
  readonly attention: number;
  /** Kernels that memory bounds, and the ends of the model. */
  readonly memory: number;
  /** Communication that nothing hides. */
  readonly tp: number;
  readonly cp: number;
  readonly ep: number;
  readonly dp: number;
  readonly pp: number;
  readonly bubble: number;
  readonly optimizer: number;
  readonly host: number;
  /** What the slowest rank of many adds. */
  readonly straggler: number;
}

/** What may differ between the steps of one `StepPrices`. */
export type StepChoice = Pick<RunSetting, 'virtualStages' | 'layersOfStages' | 'microBatch' | 'globalBatch'>;

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

export class StepPrices {
  readonly #context: PriceContext;
  readonly #setting: RunSetting;
  readonly #kinds: LayerKinds;
  readonly #pieces = new Map<number, Map<number, Pieces>>();

  constructor(setting: RunSetting, constants: StepConstants) {
    const { model, cluster, precision } = setting;
    this.#setting = setting;
    this.#kinds = knownKinds(model);
    this.#context = {
      model,
      links: linksOfCluster(cluster),
      rates: ratesOf(cluster.device, precision, constants),
      constants,
      grace: hasGrace(cluster.device),
      fused: setting.stack === 'fused' && generationOf(cluster.device) === 'blackwell',
      imbalance: setting.imbalance === 'natural' ? constants.naturalImbalance : setting.imbalance,
      setting,
    };
  }

  #piecesOf({ tp, cp, ep, etp }: Layout, microBatch: number): Pieces {
    // Numbers are faster keys than text, and a search asks for pieces at every price.
    const [outer, inner] = [(tp * 2 ** 16 + cp) * 2 ** 16 + ep, etp * 2 ** 21 + microBatch];
    let ofLayout = this.#pieces.get(outer);
    if (ofLayout === undefined) {
      ofLayout = new Map();
      this.#pieces.set(outer, ofLayout);
    }
    const known = ofLayout.get(inner);
    if (known !== undefined) return known;
    const share = { tp, cp, ep, etp, tokens: (microBatch * this.#setting.sequence) / cp };
    const pieces = {
      layers: this.#kinds.kinds.map((kind) => layerPrice(this.#context, kind, share)),
      ends: endPrice(this.#context, share),
    };
    ofLayout.set(inner, pieces);
    return pieces;
  }

  /** Seconds of the whole step. */
  seconds(layout: Layout, choice: StepChoice): number {
    return this.#run(layout, choice).seconds;
  }

  /**
   * What a step takes at least, however layers lie on the stages: passes of all micro-batches, shared evenly, without a
   * bubble. Larger micro-batches take no more of it.
   */
  floorSeconds(layout: Layout, choice: Pick<StepChoice, 'microBatch' | 'globalBatch'>): number {
    const pieces = this.#piecesOf(layout, choice.microBatch);
    const layers = this.#kinds.kinds.map(() => 0);
    for (const kind of this.#kinds.kindOf) layers[kind] = (layers[kind] ?? 0) + 1;
    const { forward, backward } = this.#stagePrice({ layers, first: true, last: true, stages: 1 }, pieces);
    return (microBatchesOf({ ...choice, layout }) * (forward + backward)) / layout.pp;
  }

  #run(layout: Layout, choice: StepChoice): Run {
    const { model, sequence, schedule } = this.#setting;
    const { links, constants: c, rates } = this.#context;
    const { pp } = layout;
    const pieces = this.#piecesOf(layout, choice.microBatch);
    const stages = knownStages(this.#kinds, { ...choice, pp, multiTokenLayers: model.multiTokenLayers });
    const microBatches = microBatchesOf({ ...choice, layout });
    let slowest: { kind: StageKind; price: StagePrice } | undefined;
    let all = 0;
    let exposedDp = 0;
    let optimizer = 0;
    for (const kind of stages) {
      const price = this.#stagePrice(kind, pieces);
      const whole = price.forward + price.backward;
      all += whole * kind.stages;
      if (slowest === undefined || whole > slowest.price.forward + slowest.price.backward) slowest = { kind, price };
      const shared = memorySharing({
        setting: this.#setting,
        layout,
        links,
        rates,
        constants: c,
        stage: price,
        microBatches,
      });
      exposedDp = Math.max(exposedDp, shared.dp);
      optimizer = Math.max(optimizer, shared.optimizer);
    }
    if (slowest === undefined) throw new RangeError('a pipeline without stages');
    const { kind, price } = slowest;
    const period = price.forward + price.backward;
    const tokens = (choice.microBatch * sequence) / layout.cp / layout.tp;
    const gpusOfStage = layout.tp * layout.cp * layout.dp;
    const hop = pp > 1 ? stageSeconds(links, gpusOfStage, tokens, model.hiddenSize) : 0;
    const pipeline = { pp, virtualStages: choice.virtualStages, microBatches, hop };
    const filling = bubbleSeconds(schedule, pipeline, all - period, price);
    const between = pp > 1 ? (hop * c.exposedPp * 2 + c.hostHop) * choice.virtualStages * microBatches : 0;
    const nodes = Math.max(1, (gpusOfStage * pp) / links.domain);
    const beforeLast = microBatches * period + filling + between + exposedDp + optimizer + c.stepSeconds;
    const straggler = beforeLast * c.straggler * Math.log2(nodes);
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

  /** The whole step, part by part. */
  step(layout: Layout, choice: StepChoice): StepParts {
    const { stepSeconds } = this.#context.constants;
    const run = this.#run(layout, choice);
    const { kind, pieces, microBatches, period, filling, between, exposedDp, optimizer, straggler, seconds } = run;
    const sum = (part: 'gemm' | 'grouped' | 'attention' | 'memory' | 'tp' | 'cp' | 'ep' | 'host'): number =>
      microBatches *
      kind.layers.reduce((total, count, index) => total + count * (pieces.layers[index]?.[part] ?? 0), 0);
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

  #stagePrice(kind: StageKind, { layers, ends }: Pieces): StagePrice {
    let [forward, backward, weightGradient, dense, expert] = [0, 0, 0, 0, 0];
    const add = (price: LayerPrice | undefined, count: number): void => {
      if (price === undefined) return;
      forward += count * price.forward;
      backward += count * price.backward;
      weightGradient += count * price.weightGradient;
      dense += count * price.dense;
      expert += count * price.expert;
    };
    kind.layers.forEach((count, index) => add(layers[index], count));
    const { model } = this.#context;
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
      for (const index of this.#kinds.multiToken) add(layers[index], modules);
    }
    return { forward, backward, weightGradient, dense, expert };
  }
}

interface Pipeline {
  readonly pp: number;
  readonly virtualStages: number;
  readonly microBatches: number;
  readonly hop: number;
}

/**
 * Time in which the slowest stage waits for the others to fill and drain: `others` is one micro-batch on all other
 * stages. Interleaving divides it; zero-bubble (arXiv 2401.10241, ZB-H1) fills two thirds of it with weight gradients,
 * DualPipe (DeepSeek-V3, table 2) (pp/2-1)(FB+B-3W).
 */
function bubbleSeconds(
  schedule: RunSetting['schedule'],
  { pp, virtualStages, hop }: Pipeline,
  others: number,
  { forward, backward, weightGradient }: StagePrice,
): number {
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
  }
}
