/**
 * Passes of a micro-batch through layers of every kind, and what the ends of the model take, for settings of one
 * problem. A search asks for the same again and again: splits of the layers and rules of sharing change nothing of
 * them, so that those of the split that was asked for last are kept.
 */
import type { LayerKinds } from './layer-amounts.js';
import {
  launchedAgain,
  movedBytes,
  networkSeconds,
  pricedRate,
  runAgain,
  shownOfEp,
  shownOfTp,
  shownWeights,
  together,
  type PriceContext,
} from './layer-prices.js';
import { isDual, type RecomputeSetting, type RunSetting } from './run-setting.js';
import { place, placeOfDispatcher, valueAt, valuesOfEnds, valuesOfKind, type SplitLines } from './split-lines.js';

/** Places of a layer's seconds, of its parameters on the rank, and of seconds on the network. */
export const passAt = { forward: 0, backward: 1, weightGradient: 2, dense: 3, expert: 4, network: 5 } as const;

/** Places of shares that run again. */
const againAt = { projections: 0, core: 1, dense: 2, experts: 3, elements: 4, exchange: 5 } as const;

/** Numbers of a kind. */
export const widthOfKind = 6;

/** Passes that are kept at a time: micro-batches of a layout, times ways to exchange experts' rows. */
const slots = 128;

export class LayerTable {
  /** From a place on: `passAt` of every kind, one behind the other, then `endPlace` of the ends. */
  readonly values: Float64Array;
  /** Where the ends lie behind a place. */
  readonly ends: number;
  readonly #context: PriceContext;
  readonly #setting: Pick<RunSetting, 'frozen' | 'sequence'>;
  readonly #width: number;
  readonly #bytes: ReturnType<typeof movedBytes>;
  readonly #again = new Map<RecomputeSetting, Float64Array>();
  #lines: SplitLines | undefined;
  #exchange: Float64Array | undefined;
  /** Changes with the split, so that what is kept of another one is told apart. */
  #split = 0;
  /** Whose passes a slot holds: of which split, micro-batch and exchange, and with which recomputation. */
  readonly #splits = new Float64Array(slots);
  readonly #keys = new Float64Array(slots);
  /** A kind's values at the tokens at hand, by `place`. */
  readonly #now = new Float64Array(valuesOfKind);
  readonly #recomputes: (RecomputeSetting | undefined)[] = Array.from({ length: slots }, () => undefined);
  #worked = 0;

  /** `setting`: of those to price, which differ in what a search varies. */
  constructor(context: PriceContext, { kinds }: LayerKinds, setting: Pick<RunSetting, 'frozen' | 'sequence'>) {
    this.#context = context;
    this.#setting = setting;
    this.#bytes = movedBytes(setting.frozen);
    this.ends = kinds.length * widthOfKind;
    this.#width = this.ends + valuesOfEnds;
    this.values = new Float64Array(slots * this.#width);
  }

  /** How often passes were worked out: `values` are the same as long as it is. */
  get worked(): number {
    return this.#worked;
  }

  /**
   * The place in `values` of the passes under a setting. `lines` of its split, `exchange` its communication of CP a
   * token, by kind: always the same objects for the same degrees.
   */
  placeOf(lines: SplitLines, exchange: Float64Array, setting: RunSetting): number {
    if (lines !== this.#lines || exchange !== this.#exchange) {
      this.#lines = lines;
      this.#exchange = exchange;
      this.#split += 1;
    }
    const { overlap, schedule, microBatch, recompute, dispatcher } = setting;
    const way = (placeOfDispatcher[dispatcher] + Number(isDual(schedule) || overlap.ep)) * 2 + Number(overlap.tp);
    const key = microBatch * (4 * valuesOfKind) + way;
    const slot = (microBatch * 12 + way) % slots;
    const to = slot * this.#width;
    if (this.#splits[slot] === this.#split && this.#keys[slot] === key && this.#recomputes[slot] === recompute)
      return to;
    this.#splits[slot] = this.#split;
    this.#keys[slot] = key;
    this.#recomputes[slot] = recompute;
    this.#worked += 1;
    this.#work(lines, exchange, setting, to);
    return to;
  }

  #againOf(recompute: RecomputeSetting): Float64Array {
    const known = this.#again.get(recompute);
    if (known !== undefined) return known;
    const { projections, core, dense, experts, elements, exchange } = runAgain(recompute);
    const made = Float64Array.of(projections, core, dense, experts, elements, exchange);
    this.#again.set(recompute, made);
    return made;
  }

  #work({ layers, ends }: SplitLines, exchange: Float64Array, setting: RunSetting, to: number): void {
    const tokens = (setting.microBatch * this.#setting.sequence) / setting.layout.cp;
    const again = this.#againOf(setting.recompute);
    const now = this.#now;
    for (let kind = 0, from = 0, at = to; kind < exchange.length; kind++, from += valuesOfKind, at += widthOfKind) {
      for (let value = 0; value < valuesOfKind; value++) now[value] = valueAt(layers, from + value, tokens);
      this.#workKind(setting, again, (exchange[kind] ?? 0) * tokens, at);
    }
    for (let end = 0; end < valuesOfEnds; end++) this.values[to + this.ends + end] = valueAt(ends, end, tokens);
  }

  /** Of a kind whose values are in `#now`, with so much communication of CP. */
  #workKind(setting: RunSetting, again: Float64Array, cp: number, at: number): void {
    const { constants: c, rates, imbalance } = this.#context;
    const { frozen } = this.#setting;
    const { values } = this;
    const now = this.#now;
    const learnt = frozen ? 1 : 2;
    const projectionsAgain = again[againAt.projections] ?? 0;
    const exchangeAgain = again[againAt.exchange] ?? 0;
    const ofDense = learnt + (again[againAt.dense] ?? 0);
    const ofExperts = learnt + (again[againAt.experts] ?? 0);
    const ofElements = 2 + (again[againAt.elements] ?? 0);
    const exchangeAt = placeOfDispatcher[setting.dispatcher];
    const projections = now[place.projections] ?? 0;
    const feedForward = now[place.feedForward] ?? 0;
    const grouped = now[place.grouped] ?? 0;
    const elements = now[place.elements] ?? 0;
    const attention = now[place.attention] ?? 0;
    const tp = (now[place.tp] ?? 0) * shownOfTp(setting, c);
    const ep = (now[exchangeAt] ?? 0) * imbalance;
    const epBackward = exchangeAgain * ep + (now[exchangeAt + 1] ?? 0) * imbalance;
    const dense = now[place.dense] ?? 0;
    const expert = now[place.expert] ?? 0;
    const denseByte = dense / rates.memory;
    const expertByte = expert / rates.memory;
    const products = projections + feedForward;
    const denseBackward = (learnt + projectionsAgain) * projections + ofDense * feedForward;
    const expertsBackward = ofExperts * grouped;
    const attentionBackward = (now[place.attentionBackward] ?? 0) + (again[againAt.core] ?? 0) * attention;
    const forwardWork =
      products +
      grouped +
      attention +
      elements +
      shownWeights(denseByte * this.#bytes.forward, products, c) +
      shownWeights(expertByte * this.#bytes.forward, grouped, c);
    const backwardWork =
      denseBackward +
      expertsBackward +
      attentionBackward +
      ofElements * elements +
      shownWeights(denseByte * this.#bytes.backward, denseBackward, c) +
      shownWeights(expertByte * this.#bytes.backward, expertsBackward, c);
    const shownEp = shownOfEp(setting, c, ep + epBackward, forwardWork + backwardWork);
    const forward = forwardWork + tp + Math.max(c.exposedCp * cp, cp - attention) + ep * shownEp;
    const backward =
      backwardWork +
      (1 + projectionsAgain) * tp +
      Math.max(c.exposedCp * 2 * cp, 2 * cp - attentionBackward) +
      epBackward * shownEp;
    const exchanged = pricedRate(setting.dispatcher, c) * (ep + epBackward);
    const device = forward + backward;
    const launching = launchedAgain(now[place.launching] ?? 0, projectionsAgain, exchangeAgain, c);
    const slower = together(device, launching) / device;
    values[at + passAt.forward] = forward * slower;
    values[at + passAt.backward] = backward * slower;
    values[at + passAt.weightGradient] = frozen ? 0 : products + grouped;
    values[at + passAt.dense] = dense;
    values[at + passAt.expert] = expert;
    values[at + passAt.network] = networkSeconds(this.#context, setting.layout, 3 * cp, exchanged);
  }
}
