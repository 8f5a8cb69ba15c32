/**
 * Seconds of steps of very many settings of one problem: the same as `priceStep`, without parts. What depends on few
 * degrees is worked out once: lines over the tokens for every split of a layer, rings for every layout, stages for
 * every depth of a pipeline. A test holds it against the plain form.
 */
import type { Layout } from '../layout/layout.js';
import { sharingRules } from '../memory/index.js';
import { binaryLogarithm } from '../units/same-everywhere.js';
import type { StepConstants } from './constants.js';
import { stageLine } from './exchange.js';
import { knownKinds, type LayerKinds } from './layer-amounts.js';
import {
  contextExchange,
  launchedAgain,
  movedBytes,
  runAgain,
  shownBehind,
  shownOfEp,
  shownOfTp,
  shownWeights,
  together,
  type Again,
  type PriceContext,
} from './layer-prices.js';
import { hostUpdateSeconds } from './host-states.js';
import { ringLine } from './links.js';
import { nextStage, sharersInDomain, type RankOrder } from './rank-order.js';
import { isDual, microBatchesOf, type RecomputeSetting, type RunSetting } from './run-setting.js';
import { weightBytes } from './sharing.js';
import { endPlace, place, placeOfDispatcher, splitLines, valuesOfKind, type SplitLines } from './split-lines.js';
import { knownStages, type StageKind } from './stage-layers.js';
import { bubbleSeconds, priceContext } from './step-prices.js';
import { shardRings, type WeightSort } from './weight-shards.js';

/** What tp, ep and etp decide. */
interface KnownSplit {
  readonly lines: SplitLines;
  /** Seconds of a micro-batch through all layers, by recomputation, then by what else they depend on. */
  readonly wholes: Map<RecomputeSetting, Map<number, number>>;
}

/** What a layout decides. */
interface LayoutRow {
  readonly lines: SplitLines;
  /**
   * Fixed seconds and slopes over the bytes of rings over the ranks that hold the same parameters; the same from stage
   * to stage, by the token of a rank; then communication of CP a token, by kind of layer.
   */
  readonly values: Float64Array;
  /** Of weight shards, by how many there are, as they are asked for: rings that gather, and those of replicas. */
  readonly denseShards: (Float64Array | undefined)[];
  readonly expertShards: (Float64Array | undefined)[];
}

/** Places in `values`. */
const [denseRingAt, expertRingAt, hopAt, contextAt] = [0, 2, 4, 6];

/** Places in a row of shards. */
const [gatherAt, replicasAt] = [0, 2];

/** Seconds of a line of a row over so many bytes. */
const lineAt = (row: Float64Array, place: number, bytes: number): number =>
  (row[place] ?? 0) + (row[place + 1] ?? 0) * bytes;

/** Values of a kind of layer, or of a stage: places in scratch rows. */
const [forwardAt, backwardAt, weightGradientAt, denseAt, expertAt, width] = [0, 1, 2, 3, 4, 5];

export class StepTable {
  readonly #setting: RunSetting;
  readonly #context: PriceContext;
  readonly #kinds: LayerKinds;
  readonly #rows: Readonly<Record<RankOrder, Map<Layout, LayoutRow>>> = { 'dp-pp': new Map(), 'pp-dp': new Map() };
  readonly #splits = new Map<number, KnownSplit>();
  readonly #again = new Map<RecomputeSetting, Again>();
  readonly #stages = new Map<number, readonly StageKind[]>();
  readonly #unevenStages = new Map<readonly number[], Map<number, readonly StageKind[]>>();
  readonly #whole: StageKind;
  /** Passes of each kind of layer, one kind behind the other. */
  readonly #layers: Float64Array;
  /** Values at some tokens of one kind. */
  readonly #values = new Float64Array(valuesOfKind);
  readonly #ends = new Float64Array(Object.keys(endPlace).length);
  readonly #stage = new Float64Array(width);
  #ranks = 0;
  #stragglingOfRanks = 0;
  #lastLayout: Layout | undefined;
  #lastOrder: RankOrder = 'dp-pp';
  #lastRow: LayoutRow | undefined;
  readonly #hostUpdate: number;

  /** `setting`: of those to price, which differ in what a search varies. */
  constructor(setting: RunSetting, constants: StepConstants) {
    this.#setting = setting;
    this.#context = priceContext(setting, constants);
    this.#kinds = knownKinds(setting.model);
    this.#hostUpdate = hostUpdateSeconds(setting.cluster.device);
    this.#layers = new Float64Array(this.#kinds.kinds.length * width);
    const layers = this.#kinds.kinds.map(() => 0);
    for (const kind of this.#kinds.kindOf) layers[kind] = (layers[kind] ?? 0) + 1;
    this.#whole = { layers, first: true, last: true, stages: 1 };
  }

  /** Seconds of the whole step. */
  seconds(setting: RunSetting): number {
    const { layout, sharing, overlap, schedule, virtualStages, microBatch, hostStates = false, weightShards } = setting;
    const { constants: c, rates } = this.#context;
    const { frozen, sequence } = this.#setting;
    const row = this.#rowOf(setting);
    this.#priceLayers(row.lines, row.values, setting);
    const microBatches = microBatchesOf(setting);
    const rule = sharingRules[sharing];
    const { values } = row;
    const denseShards =
      weightShards === undefined ? undefined : this.#shardsOf(row, layout, 'dense', weightShards.dense);
    const expertShards =
      weightShards === undefined ? undefined : this.#shardsOf(row, layout, 'expert', weightShards.expert);
    const ringFixed = (values[denseRingAt] ?? 0) + (values[expertRingAt] ?? 0);
    const [denseSlope, expertSlope] = [values[denseRingAt + 1] ?? 0, values[expertRingAt + 1] ?? 0];
    const [denseShare, expertShare] = rule.optimizer ? [1 / (layout.dp * layout.cp), 1 / layout.edp] : [1, 1];
    const hidden = overlap.dp ? 1 : 0;
    const [hiddenDp, hiddenFsdp] = [hidden * (1 - c.exposedDp), hidden * (1 - c.exposedFsdp)];
    const update = hostStates ? this.#hostUpdate : c.optimizerBytes / rates.memory;
    const learning = frozen ? 0 : 1;
    const stage = this.#stage;
    let [period, forward, backward, weightGradient, all, exposedDp, optimizer] = [-1, 0, 0, 0, 0, 0, 0];
    for (const kind of this.#stagesOf(setting)) {
      this.#addUp(kind);
      const [stageForward, stageBackward] = [stage[forwardAt] ?? 0, stage[backwardAt] ?? 0];
      const [dense, expert] = [stage[denseAt] ?? 0, stage[expertAt] ?? 0];
      const whole = stageForward + stageBackward;
      all += whole * kind.stages;
      if (whole > period) {
        period = whole;
        forward = stageForward;
        backward = stageBackward;
        weightGradient = stage[weightGradientAt] ?? 0;
      }
      const perByte = dense * denseSlope + expert * expertSlope;
      const gradients = ringFixed + perByte * c.gradientBytes;
      const weights = ringFixed + perByte * weightBytes;
      const after = rule.optimizer ? weights : gradients;
      const reductions = rule.gradients && !rule.weights ? microBatches : 1;
      let shown = frozen
        ? 0
        : reductions * shownBeside(gradients, hiddenDp, stageBackward) + shownBeside(after, hiddenDp, stageForward);
      if (rule.weights) {
        const again = weights + (frozen ? 0 : gradients);
        const gathered = shownBeside(weights, hiddenFsdp, stageForward) + shownBeside(again, hiddenFsdp, stageBackward);
        shown = Math.max(shown, microBatches * gathered);
      }
      if (denseShards !== undefined && expertShards !== undefined && weightShards !== undefined) {
        const [ofDense, ofExpert] = [weightShards.dense > 1 ? dense : 0, weightShards.expert > 1 ? expert : 0];
        const both = (at: number, denseBytes: number, expertBytes: number): number =>
          lineAt(denseShards, at, denseBytes) + (expertShards[at] ?? 0) + (expertShards[at + 1] ?? 0) * expertBytes;
        const gather = both(gatherAt, ofDense * weightBytes, ofExpert * weightBytes);
        const reduce = both(gatherAt, ofDense * c.gradientBytes, ofExpert * c.gradientBytes) * learning;
        const last = both(replicasAt, dense * c.gradientBytes, expert * c.gradientBytes) * learning;
        const next = both(replicasAt, dense * weightBytes, expert * weightBytes) * learning;
        const every =
          shownBeside(gather, hiddenFsdp, stageForward) + shownBeside(gather + reduce, hiddenFsdp, stageBackward);
        const once = shownBeside(last, hiddenDp, stageBackward) + shownBeside(next, hiddenDp, stageForward);
        shown = Math.max(shown, once + microBatches * every);
      }
      exposedDp = Math.max(exposedDp, shown);
      const own = frozen ? 0 : dense * denseShare + expert * expertShare;
      optimizer = Math.max(optimizer, own * update);
    }
    const { pp } = layout;
    let waiting = 0;
    if (pp > 1) {
      const hop = lineAt(values, hopAt, (microBatch * sequence) / layout.cp / layout.tp);
      const others = all - period;
      waiting =
        bubbleSeconds({ schedule, pp, virtualStages, hop, others, forward, backward, weightGradient }) +
        (hop * c.exposedPp * 2 + c.hostHop) * virtualStages * microBatches;
    }
    return (microBatches * period + waiting + exposedDp + optimizer + c.stepSeconds) * (1 + this.#straggling(layout));
  }

  /**
   * What a step takes at least, however layers lie on the stages: passes of all micro-batches, shared evenly, without a
   * bubble, and the slowest of all ranks. Larger micro-batches take no more of it.
   */
  floorSeconds(setting: RunSetting): number {
    const { layout, microBatch, dispatcher, overlap, schedule } = setting;
    const { wholes } = this.#splitOf(layout);
    const shown = Number(overlap.ep || isDual(schedule));
    const key = ((layout.cp * 2 ** 24 + microBatch) * valuesOfKind + placeOfDispatcher[dispatcher]) * 2 + shown;
    const ofSplit = wholes.get(setting.recompute) ?? new Map<number, number>();
    wholes.set(setting.recompute, ofSplit);
    const whole = ofSplit.get(key) ?? this.#wholeSeconds(setting);
    ofSplit.set(key, whole);
    return ((microBatchesOf(setting) * whole) / layout.pp) * (1 + this.#straggling(layout));
  }

  /** One micro-batch through all layers. */
  #wholeSeconds(setting: RunSetting): number {
    const { layout } = setting;
    const context = [...new Float64Array(contextAt), ...this.#contextOf(layout)];
    this.#priceLayers(this.#splitOf(layout).lines, Float64Array.from(context), setting);
    this.#addUp(this.#whole);
    return (this.#stage[forwardAt] ?? 0) + (this.#stage[backwardAt] ?? 0);
  }

  #splitOf({ tp, ep, etp }: Layout): KnownSplit {
    const key = (tp * 2 ** 16 + ep) * 2 ** 16 + etp;
    const known = this.#splits.get(key);
    if (known !== undefined) return known;
    const made = {
      lines: splitLines(this.#context, this.#kinds, { tp, ep, etp }),
      wholes: new Map<RecomputeSetting, Map<number, number>>(),
    };
    this.#splits.set(key, made);
    return made;
  }

  /** Communication of CP a token, by kind of layer. */
  #contextOf({ tp, cp }: Layout): number[] {
    return this.#kinds.kinds.map((kind) => contextExchange(this.#context, kind, { tp, cp, tokens: 1 }));
  }

  /** Share that the slowest of many ranks adds: the same for all layouts of as many ranks. */
  #straggling({ tp, cp, dp, pp }: Layout): number {
    const ranks = tp * cp * dp * pp;
    if (ranks !== this.#ranks) {
      const { constants, links } = this.#context;
      this.#ranks = ranks;
      this.#stragglingOfRanks = constants.straggler * binaryLogarithm(Math.max(1, ranks / links.domain));
    }
    return this.#stragglingOfRanks;
  }

  #rowOf({ layout, rankOrder = 'dp-pp' }: RunSetting): LayoutRow {
    // A search prices a layout's settings one after another.
    if (layout === this.#lastLayout && rankOrder === this.#lastOrder && this.#lastRow !== undefined)
      return this.#lastRow;
    const row = this.#rows[rankOrder].get(layout) ?? this.#newRow(layout, rankOrder);
    this.#lastLayout = layout;
    this.#lastOrder = rankOrder;
    this.#lastRow = row;
    return row;
  }

  #shardsOf(row: LayoutRow, layout: Layout, sort: WeightSort, shards: number): Float64Array {
    const known = sort === 'dense' ? row.denseShards : row.expertShards;
    const found = known[shards];
    if (found !== undefined) return found;
    const { gather, replicas } = shardRings(this.#context.links, layout, sort, shards);
    return (known[shards] = Float64Array.of(gather.fixed, gather.slope, replicas.fixed, replicas.slope));
  }

  #newRow(layout: Layout, order: RankOrder): LayoutRow {
    const { links, model } = this.#context;
    const { cp, dp, edp } = layout;
    const [inside, next] = [sharersInDomain(links, layout, order), nextStage(links, layout, order)];
    const dense = ringLine(links, dp * cp, inside.dense);
    const expert = ringLine(links, edp, inside.expert);
    const hop = stageLine(links, next, model.hiddenSize);
    const rings = [dense, expert, hop].flatMap(({ fixed, slope }) => [fixed, slope]);
    const row: LayoutRow = {
      lines: this.#splitOf(layout).lines,
      values: Float64Array.from([...rings, ...this.#contextOf(layout)]),
      denseShards: [],
      expertShards: [],
    };
    this.#rows[order].set(layout, row);
    return row;
  }

  #stagesOf({ layout: { pp }, virtualStages, layersOfStages, schedule }: RunSetting): readonly StageKind[] {
    const folded = schedule === 'dualpipe-v';
    const known = layersOfStages === undefined ? this.#stages : this.#unevenOf(layersOfStages);
    const key = (pp * 2 ** 12 + virtualStages) * 2 + Number(folded);
    const found = known.get(key);
    if (found !== undefined) return found;
    const shape = { pp, virtualStages, multiTokenLayers: this.#setting.model.multiTokenLayers, folded };
    const stages = knownStages(this.#kinds, layersOfStages === undefined ? shape : { ...shape, layersOfStages });
    known.set(key, stages);
    return stages;
  }

  #unevenOf(layersOfStages: readonly number[]): Map<number, readonly StageKind[]> {
    const known = this.#unevenStages.get(layersOfStages) ?? new Map<number, readonly StageKind[]>();
    this.#unevenStages.set(layersOfStages, known);
    return known;
  }

  #againOf(recompute: RecomputeSetting): Again {
    const again = this.#again.get(recompute) ?? runAgain(recompute);
    this.#again.set(recompute, again);
    return again;
  }

  /** Passes of a micro-batch through a layer of each kind, and the ends. `ofLayout`: as `LayoutRow.values`. */
  #priceLayers(lines: SplitLines, ofLayout: Float64Array, setting: RunSetting): void {
    const { constants: c, rates, imbalance } = this.#context;
    const { frozen, sequence } = this.#setting;
    const tokens = (setting.microBatch * sequence) / setting.layout.cp;
    const again = this.#againOf(setting.recompute);
    const bytes = movedBytes(frozen);
    const learnt = frozen ? 1 : 2;
    const shownTp = shownOfTp(setting, c);
    const shownEp = shownOfEp(setting, c);
    const exchangeAt = placeOfDispatcher[setting.dispatcher];
    const [values, layers] = [this.#values, this.#layers];
    const { at, slope } = lines.layers;
    for (let kind = 0, from = 0, to = 0; to < layers.length; kind++, from += valuesOfKind, to += width) {
      for (let value = 0; value < valuesOfKind; value++)
        values[value] = (at[from + value] ?? 0) + (slope[from + value] ?? 0) * tokens;
      const projections = values[place.projections] ?? 0;
      const feedForward = values[place.feedForward] ?? 0;
      const grouped = values[place.grouped] ?? 0;
      const elements = values[place.elements] ?? 0;
      const attention = values[place.attention] ?? 0;
      const tp = (values[place.tp] ?? 0) * shownTp;
      const cp = (ofLayout[contextAt + kind] ?? 0) * tokens;
      const ep = (values[exchangeAt] ?? 0) * imbalance;
      const epBackward = again.exchange * ep + (values[exchangeAt + 1] ?? 0) * imbalance;
      const dense = values[place.dense] ?? 0;
      const expert = values[place.expert] ?? 0;
      const [denseByte, expertByte] = [dense / rates.memory, expert / rates.memory];
      const products = projections + feedForward;
      const denseBackward = (learnt + again.projections) * projections + (learnt + again.dense) * feedForward;
      const expertsBackward = (learnt + again.experts) * grouped;
      const attentionBackward = (values[place.attentionBackward] ?? 0) + again.core * attention;
      const forwardWork =
        products +
        grouped +
        attention +
        elements +
        shownWeights(denseByte * bytes.forward, products, c) +
        shownWeights(expertByte * bytes.forward, grouped, c);
      const backwardWork =
        denseBackward +
        expertsBackward +
        attentionBackward +
        (2 + again.elements) * elements +
        shownWeights(denseByte * bytes.backward, denseBackward, c) +
        shownWeights(expertByte * bytes.backward, expertsBackward, c);
      const shownOfKind = shownBehind(shownEp, ep + epBackward, forwardWork + backwardWork);
      const forward = forwardWork + tp + Math.max(c.exposedCp * cp, cp - attention) + ep * shownOfKind;
      const backward =
        backwardWork +
        (1 + again.projections) * tp +
        Math.max(c.exposedCp * 2 * cp, 2 * cp - attentionBackward) +
        epBackward * shownOfKind;
      const device = forward + backward;
      const slower = together(device, launchedAgain(values[place.launching] ?? 0, again, c)) / device;
      layers[to + forwardAt] = forward * slower;
      layers[to + backwardAt] = backward * slower;
      layers[to + weightGradientAt] = frozen ? 0 : projections + feedForward + grouped;
      layers[to + denseAt] = dense;
      layers[to + expertAt] = expert;
    }
    for (let end = 0; end < this.#ends.length; end++)
      this.#ends[end] = (lines.ends.at[end] ?? 0) + (lines.ends.slope[end] ?? 0) * tokens;
  }

  /** One micro-batch on one kind of stage, and what it holds. */
  #addUp({ layers, first, last }: StageKind): void {
    const [stage, ends] = [this.#stage, this.#ends];
    stage.fill(0);
    for (let kind = 0; kind < layers.length; kind++) this.#addLayers(kind, layers[kind] ?? 0);
    if (first) {
      stage[backwardAt] = (stage[backwardAt] ?? 0) + (ends[endPlace.embedding] ?? 0);
      stage[denseAt] = (stage[denseAt] ?? 0) + (ends[endPlace.embeddingParameters] ?? 0);
    }
    if (!last) return;
    const modules = this.#setting.model.multiTokenLayers;
    const head = ((1 + modules) * (ends[endPlace.logits] ?? 0) + modules * (ends[endPlace.multiToken] ?? 0)) / 3;
    stage[forwardAt] = (stage[forwardAt] ?? 0) + head;
    stage[backwardAt] = (stage[backwardAt] ?? 0) + 2 * head;
    stage[denseAt] = (stage[denseAt] ?? 0) + (ends[endPlace.outputParameters] ?? 0);
    if (modules > 0) for (const kind of this.#kinds.multiToken) this.#addLayers(kind, modules);
  }

  #addLayers(kind: number, count: number): void {
    if (count === 0) return;
    for (let value = 0; value < width; value++)
      this.#stage[value] = (this.#stage[value] ?? 0) + count * (this.#layers[kind * width + value] ?? 0);
  }
}

/** What of communication is seen where a share of it may hide, in a window. */
const shownBeside = (communication: number, hidden: number, window: number): number =>
  communication - Math.min(hidden * communication, window);
