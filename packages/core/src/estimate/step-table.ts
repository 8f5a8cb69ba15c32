/**
 * Seconds of steps of very many settings of one problem: the same as `priceStep`, without parts. What depends on few
 * degrees is worked out once: lines over the tokens for every split of a layer, rings for every layout, stages for
 * every depth of a pipeline. A test holds it against the plain form.
 */
import type { Layout } from '../layout/layout.js';
import { sharingRules, type WeightShards } from '../memory/index.js';
import { binaryLogarithm } from '../units/same-everywhere.js';
import type { StepConstants } from './constants.js';
import { stageLine } from './exchange.js';
import { knownKinds, type LayerKinds } from './layer-amounts.js';
import { contextExchange, type PriceContext } from './layer-prices.js';
import { LayerTable, passAt, widthOfKind } from './layer-table.js';
import { hostUpdateSeconds } from './host-states.js';
import { crossingSlope, ringLine } from './links.js';
import { nextStage, sharersInDomain, type RankOrder } from './rank-order.js';
import { isDual, microBatchesOf, type RecomputeSetting, type RunSetting } from './run-setting.js';
import { weightBytes } from './sharing.js';
import { endPlace, placeOfDispatcher, splitLines, valuesOfKind, type SplitLines } from './split-lines.js';
import { knownStages, type StageKind } from './stage-layers.js';
import { bubbleSeconds, priceContext } from './step-prices.js';
import { shardRings, type WeightSort } from './weight-shards.js';

/** What tp, ep and etp decide. */
interface KnownSplit {
  readonly lines: SplitLines;
  /** Seconds of a micro-batch through all layers, by recomputation, then by what else they depend on. */
  readonly wholes: Map<RecomputeSetting, Map<number, number>>;
}

/**
 * By how many shards there are, as they are asked for: rings that gather, and those of replicas. The same list for all
 * layouts that place as many ranks in the same way.
 */
type Shards = Map<number, Float64Array>;

/** What a layout decides. */
interface LayoutRow {
  readonly lines: SplitLines;
  /** Communication of CP a token, by kind of layer. */
  readonly context: Float64Array;
  /**
   * Fixed seconds and slopes over the bytes of rings over the ranks that hold the same parameters; the same from stage
   * to stage, by the token of a rank; slopes of those rings where they cross the network.
   */
  readonly values: Float64Array;
  readonly denseShards: Shards;
  readonly expertShards: Shards;
}

/** Places in `values`. */
const denseRingAt = 0;
const expertRingAt = 2;
const hopAt = 4;
const denseCrossingAt = 6;
const expertCrossingAt = 7;
const valuesOfLayout = 8;

/** Places in a row of shards. */
const gatherAt = 0;
const replicasAt = 2;
const crossingAt = 4;

/** Seconds of a line of a row over so many bytes, behind others. */
const behind = (before: number, row: Float64Array, place: number, bytes: number): number =>
  before + (row[place] ?? 0) + (row[place + 1] ?? 0) * bytes;

export class StepTable {
  readonly #setting: RunSetting;
  readonly #context: PriceContext;
  readonly #kinds: LayerKinds;
  readonly #rows: Readonly<Record<RankOrder, Map<Layout, LayoutRow>>> = { 'dp-pp': new Map(), 'pp-dp': new Map() };
  readonly #splits = new Map<number, KnownSplit>();
  readonly #stages = new Map<number, readonly StageKind[]>();
  readonly #unevenStages = new Map<readonly number[], Map<number, readonly StageKind[]>>();
  readonly #whole: readonly StageKind[];
  readonly #layers: LayerTable;
  readonly #contexts = new Map<number, Float64Array>();
  readonly #shards = new Map<number, Shards>();
  /** A micro-batch on stages of each kind, and what they hold, as `passAt` says; one kind behind the other. */
  #sums = new Float64Array(16 * widthOfKind);
  /** Whose sums those are: of which stages, from which passes of layers, after how many that were worked out. */
  #summed: readonly StageKind[] = [];
  #summedFrom = -1;
  #summedAfter = -1;
  #ranks = 0;
  #stragglingOfRanks = 0;
  #lastLayout: Layout | undefined;
  #lastOrder: RankOrder = 'dp-pp';
  #lastRow: LayoutRow | undefined;
  #lastStages: readonly StageKind[] = [];
  #lastShape = -1;
  #lastSplit: readonly number[] | undefined;
  readonly #hostUpdate: number;

  /** `setting`: of those to price, which differ in what a search varies. */
  constructor(setting: RunSetting, constants: StepConstants) {
    this.#setting = setting;
    this.#context = priceContext(setting, constants);
    this.#kinds = knownKinds(setting.model);
    this.#hostUpdate = hostUpdateSeconds(setting.cluster.device);
    this.#layers = new LayerTable(this.#context, this.#kinds, setting);
    const layers = this.#kinds.kinds.map(() => 0);
    for (const kind of this.#kinds.kindOf) layers[kind] = (layers[kind] ?? 0) + 1;
    this.#whole = [{ layers, first: true, last: true, stages: 1 }];
  }

  /** Seconds of the whole step. */
  seconds(setting: RunSetting): number {
    const row = this.#rowOf(setting);
    const stages = this.#stagesOf(setting);
    this.#addUp(stages, this.#layers.placeOf(row.lines, row.context, setting));
    return this.#stepSeconds(setting, row, stages);
  }

  /** Of stages that are added up. A function of its own, and no lists taken apart: so its small calls are inlined. */
  #stepSeconds(setting: RunSetting, row: LayoutRow, stages: readonly StageKind[]): number {
    const { layout, sharing, overlap, hostStates = false, weightShards } = setting;
    const { constants: c, rates } = this.#context;
    const { frozen } = this.#setting;
    const microBatches = microBatchesOf(setting);
    const rule = sharingRules[sharing];
    const { values } = row;
    const ringFixed = (values[denseRingAt] ?? 0) + (values[expertRingAt] ?? 0);
    const denseSlope = values[denseRingAt + 1] ?? 0;
    const expertSlope = values[expertRingAt + 1] ?? 0;
    const denseShare = rule.optimizer ? 1 / (layout.dp * layout.cp) : 1;
    const expertShare = rule.optimizer ? 1 / layout.edp : 1;
    const hidden = overlap.dp ? 1 : 0;
    const hiddenDp = hidden * (1 - c.exposedDp);
    const hiddenFsdp = hidden * (1 - c.exposedFsdp);
    const update = hostStates ? this.#hostUpdate : c.optimizerBytes / rates.memory;
    const reducedBytes = frozen ? 0 : c.gradientBytes;
    // Of every micro-batch.
    const everyBytes = rule.weights ? 2 * weightBytes + reducedBytes : rule.gradients ? reducedBytes : 0;
    const sums = this.#sums;
    let slowest = 0;
    let period = -1;
    let all = 0;
    let exposedDp = 0;
    let optimizer = 0;
    for (let kind = 0, at = 0; kind < stages.length; kind++, at += widthOfKind) {
      const forward = sums[at + passAt.forward] ?? 0;
      const backward = sums[at + passAt.backward] ?? 0;
      const dense = sums[at + passAt.dense] ?? 0;
      const expert = sums[at + passAt.expert] ?? 0;
      const whole = forward + backward;
      all += whole * (stages[kind]?.stages ?? 0);
      if (whole > period) {
        period = whole;
        slowest = at;
      }
      const perByte = dense * denseSlope + expert * expertSlope;
      const gradients = ringFixed + perByte * c.gradientBytes;
      const weights = ringFixed + perByte * weightBytes;
      const unhidden = (sums[at + passAt.network] ?? 0) - whole;
      const after = rule.optimizer ? weights : gradients;
      const reductions = rule.gradients && !rule.weights ? microBatches : 1;
      let shown = frozen
        ? 0
        : reductions * shownBeside(gradients, hiddenDp, backward) + shownBeside(after, hiddenDp, forward);
      if (everyBytes > 0) {
        const crossing = dense * (values[denseCrossingAt] ?? 0) + expert * (values[expertCrossingAt] ?? 0);
        shown = Math.max(shown, microBatches * (crossing * everyBytes + unhidden));
      }
      if (rule.weights) {
        const again = weights + (frozen ? 0 : gradients);
        const gathered = shownBeside(weights, hiddenFsdp, forward) + shownBeside(again, hiddenFsdp, backward);
        shown = Math.max(shown, microBatches * gathered);
      }
      if (weightShards !== undefined) shown = Math.max(shown, this.#shardsSeconds(row, setting, weightShards, at));
      exposedDp = Math.max(exposedDp, shown);
      const own = frozen ? 0 : dense * denseShare + expert * expertShare;
      optimizer = Math.max(optimizer, own * update);
    }
    const waiting = layout.pp > 1 ? this.#waiting(setting, values, slowest, all - period) : 0;
    return (microBatches * period + waiting + exposedDp + optimizer + c.stepSeconds) * (1 + this.#straggling(layout));
  }

  /** What a stage, from a place of `#sums` on, shows of the gathering and reducing of shards of its weights. */
  #shardsSeconds(
    row: LayoutRow,
    setting: RunSetting,
    { dense: denseOver, expert: expertOver }: WeightShards,
    at: number,
  ): number {
    const { layout, overlap } = setting;
    const { constants: c } = this.#context;
    const denseShards = this.#shardsOf(row.denseShards, layout, 'dense', denseOver);
    const expertShards = this.#shardsOf(row.expertShards, layout, 'expert', expertOver);
    const sums = this.#sums;
    const forward = sums[at + passAt.forward] ?? 0;
    const backward = sums[at + passAt.backward] ?? 0;
    const dense = sums[at + passAt.dense] ?? 0;
    const expert = sums[at + passAt.expert] ?? 0;
    const ofDense = denseOver > 1 ? dense : 0;
    const ofExpert = expertOver > 1 ? expert : 0;
    const learning = this.#setting.frozen ? 0 : 1;
    const hidden = overlap.dp ? 1 : 0;
    const hiddenDp = hidden * (1 - c.exposedDp);
    const hiddenFsdp = hidden * (1 - c.exposedFsdp);
    const gatherDense = behind(0, denseShards, gatherAt, ofDense * weightBytes);
    const gather = behind(gatherDense, expertShards, gatherAt, ofExpert * weightBytes);
    const reduceDense = behind(0, denseShards, gatherAt, ofDense * c.gradientBytes);
    const reduce = behind(reduceDense, expertShards, gatherAt, ofExpert * c.gradientBytes) * learning;
    const lastDense = behind(0, denseShards, replicasAt, dense * c.gradientBytes);
    const last = behind(lastDense, expertShards, replicasAt, expert * c.gradientBytes) * learning;
    const nextDense = behind(0, denseShards, replicasAt, dense * weightBytes);
    const next = behind(nextDense, expertShards, replicasAt, expert * weightBytes) * learning;
    const once = shownBeside(last, hiddenDp, backward) + shownBeside(next, hiddenDp, forward);
    const every = shownBeside(gather, hiddenFsdp, forward) + shownBeside(gather + reduce, hiddenFsdp, backward);
    const crossing = ofDense * (denseShards[crossingAt] ?? 0) + ofExpert * (expertShards[crossingAt] ?? 0);
    const unhidden = (sums[at + passAt.network] ?? 0) - forward - backward;
    const gatheredBytes = 2 * weightBytes + c.gradientBytes * learning;
    return once + microBatchesOf(setting) * Math.max(every, crossing * gatheredBytes + unhidden);
  }

  /** Seconds in which the slowest stage, from a place of `#sums` on, waits for the others. `values`: of the layout. */
  #waiting(setting: RunSetting, values: Float64Array, slowest: number, others: number): number {
    const { layout, schedule, virtualStages, microBatch } = setting;
    const { constants: c } = this.#context;
    const { pp } = layout;
    const tokens = (microBatch * this.#setting.sequence) / layout.cp / layout.tp;
    const hop = (values[hopAt] ?? 0) + (values[hopAt + 1] ?? 0) * tokens;
    const forward = this.#sums[slowest + passAt.forward] ?? 0;
    const backward = this.#sums[slowest + passAt.backward] ?? 0;
    const weightGradient = this.#sums[slowest + passAt.weightGradient] ?? 0;
    return (
      bubbleSeconds({ schedule, pp, virtualStages, hop, others, forward, backward, weightGradient }) +
      (hop * c.exposedPp * 2 + c.hostHop) * virtualStages * microBatchesOf(setting)
    );
  }

  /**
   * What a step takes at least, however layers lie on the stages: passes of all micro-batches, shared evenly, without a
   * bubble, and the slowest of all ranks. Larger micro-batches take no more of it.
   */
  floorSeconds(setting: RunSetting): number {
    const { layout, microBatch, dispatcher, overlap, schedule } = setting;
    const { wholes } = this.#splitOf(layout);
    const shown = Number(isDual(schedule) || overlap.ep);
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
    this.#addUp(this.#whole, this.#layers.placeOf(this.#splitOf(layout).lines, this.#contextOf(layout), setting));
    return (this.#sums[passAt.forward] ?? 0) + (this.#sums[passAt.backward] ?? 0);
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

  /** Communication of CP a token, by kind of layer: always the same row for the same degrees. */
  #contextOf({ tp, cp }: Layout): Float64Array {
    const key = tp * 2 ** 24 + cp;
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    const made = Float64Array.from(this.#kinds.kinds, (kind) =>
      contextExchange(this.#context, kind, { tp, cp, tokens: 1 }),
    );
    this.#contexts.set(key, made);
    return made;
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

  #shardsOf(known: Shards, layout: Layout, sort: WeightSort, shards: number): Float64Array {
    const found = known.get(shards);
    if (found !== undefined) return found;
    const { gather, replicas, crossing } = shardRings(this.#context.links, layout, sort, shards);
    const made = Float64Array.of(gather.fixed, gather.slope, replicas.fixed, replicas.slope, crossing);
    known.set(shards, made);
    return made;
  }

  /** Of so many ranks with the same weights, so far from one another. */
  #knownShards(ranks: number, stride: number): Shards {
    const key = ranks * 2 ** 20 + stride;
    const known = this.#shards.get(key);
    if (known !== undefined) return known;
    const made: Shards = new Map();
    this.#shards.set(key, made);
    return made;
  }

  #newRow(layout: Layout, order: RankOrder): LayoutRow {
    const { links, model } = this.#context;
    const { tp, cp, dp, ep, etp, edp } = layout;
    const { dense: denseInside, expert: expertInside } = sharersInDomain(links, layout, order);
    const dense = ringLine(links, dp * cp, denseInside);
    const expert = ringLine(links, edp, expertInside);
    const hop = stageLine(links, nextStage(links, layout, order), model.hiddenSize);
    const values = new Float64Array(valuesOfLayout);
    values[denseRingAt] = dense.fixed;
    values[denseRingAt + 1] = dense.slope;
    values[expertRingAt] = expert.fixed;
    values[expertRingAt + 1] = expert.slope;
    values[hopAt] = hop.fixed;
    values[hopAt + 1] = hop.slope;
    values[denseCrossingAt] = crossingSlope(links, dp * cp, denseInside);
    values[expertCrossingAt] = crossingSlope(links, edp, expertInside);
    const row: LayoutRow = {
      lines: this.#splitOf(layout).lines,
      context: this.#contextOf(layout),
      values,
      denseShards: this.#knownShards(dp * cp, tp),
      expertShards: this.#knownShards(edp, etp * ep),
    };
    this.#rows[order].set(layout, row);
    return row;
  }

  #stagesOf({ layout: { pp }, virtualStages, layersOfStages, schedule }: RunSetting): readonly StageKind[] {
    const folded = schedule === 'dualpipe-v';
    const key = (pp * 2 ** 12 + virtualStages) * 2 + Number(folded);
    if (key === this.#lastShape && layersOfStages === this.#lastSplit) return this.#lastStages;
    const known = layersOfStages === undefined ? this.#stages : this.#unevenOf(layersOfStages);
    let stages = known.get(key);
    if (stages === undefined) {
      const shape = { pp, virtualStages, multiTokenLayers: this.#setting.model.multiTokenLayers, folded };
      stages = knownStages(this.#kinds, layersOfStages === undefined ? shape : { ...shape, layersOfStages });
      known.set(key, stages);
    }
    this.#lastShape = key;
    this.#lastSplit = layersOfStages;
    this.#lastStages = stages;
    return stages;
  }

  #unevenOf(layersOfStages: readonly number[]): Map<number, readonly StageKind[]> {
    const known = this.#unevenStages.get(layersOfStages) ?? new Map<number, readonly StageKind[]>();
    this.#unevenStages.set(layersOfStages, known);
    return known;
  }

  /** One micro-batch on stages of each kind, and what they hold, into `#sums`. `from`: the place of the passes. */
  #addUp(stages: readonly StageKind[], from: number): void {
    const { worked } = this.#layers;
    if (stages === this.#summed && from === this.#summedFrom && worked === this.#summedAfter) return;
    if (stages.length * widthOfKind > this.#sums.length) this.#sums = new Float64Array(2 * stages.length * widthOfKind);
    for (let kind = 0; kind < stages.length; kind++) {
      const stage = stages[kind];
      if (stage !== undefined) this.#addUpStage(stage, from, kind * widthOfKind);
    }
    this.#summed = stages;
    this.#summedFrom = from;
    this.#summedAfter = worked;
  }

  #addUpStage({ layers, first, last }: StageKind, from: number, to: number): void {
    const sums = this.#sums;
    const { values } = this.#layers;
    const ends = from + this.#layers.ends;
    for (let value = to; value < to + widthOfKind; value++) sums[value] = 0;
    for (let kind = 0; kind < layers.length; kind++) this.#addLayers(from + kind * widthOfKind, layers[kind] ?? 0, to);
    if (first) {
      sums[to + passAt.backward] = (sums[to + passAt.backward] ?? 0) + (values[ends + endPlace.embedding] ?? 0);
      sums[to + passAt.dense] = (sums[to + passAt.dense] ?? 0) + (values[ends + endPlace.embeddingParameters] ?? 0);
    }
    if (!last) return;
    const modules = this.#setting.model.multiTokenLayers;
    const logits = values[ends + endPlace.logits] ?? 0;
    const head = ((1 + modules) * logits + modules * (values[ends + endPlace.multiToken] ?? 0)) / 3;
    sums[to + passAt.forward] = (sums[to + passAt.forward] ?? 0) + head;
    sums[to + passAt.backward] = (sums[to + passAt.backward] ?? 0) + 2 * head;
    sums[to + passAt.dense] = (sums[to + passAt.dense] ?? 0) + (values[ends + endPlace.outputParameters] ?? 0);
    if (modules > 0) for (const kind of this.#kinds.multiToken) this.#addLayers(from + kind * widthOfKind, modules, to);
  }

  /** `from`: the place of a kind's passes. */
  #addLayers(from: number, count: number, to: number): void {
    if (count === 0) return;
    const sums = this.#sums;
    const { values } = this.#layers;
    for (let value = 0; value < widthOfKind; value++)
      sums[to + value] = (sums[to + value] ?? 0) + count * (values[from + value] ?? 0);
  }
}

/** What of communication is seen where a share of it may hide, in a window. */
const shownBeside = (communication: number, hidden: number, window: number): number =>
  communication - Math.min(hidden * communication, window);
