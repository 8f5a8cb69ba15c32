/** What a step needs at least, whatever is left open: cheap enough for every point of a space. */
import { hostOf, shardSizes } from '../../estimate/index.js';
import { precisions, sharingRules, type SharingName } from '../../memory/index.js';
import { countParameters, layerParameters } from '../../model/parameters.js';
import { maxOf } from '../../units/lists.js';
import type { Layout } from '../../layout/layout.js';
import { limitsOf } from '../space/frameworks.js';
import type { PlanProblem } from '../space/problem.js';
import type { Batching } from '../space/climb.js';

/** Bytes of an element of activations in 16 bits. */
const activationBytes = 2;

/** Sums of the least numbers: of none, of one, of two. */
function leastSums(numbers: readonly number[]): number[] {
  const sums = [0];
  for (const one of [...numbers].sort((a, b) => a - b)) sums.push((sums.at(-1) ?? 0) + one);
  return sums;
}

export class Bounds {
  readonly #problem: PlanProblem;
  readonly #experts: number;
  readonly #others: number;
  /** Of so many layers at least. */
  readonly #expertsOfLayers: readonly number[];
  readonly #othersOfLayers: readonly number[];
  readonly #sharings: readonly SharingName[];
  /** Ranks that weights are split over at most where they are not split over all. */
  readonly #mostShards: number;
  /** Rules under which the optimizer's states may lie in the host's memory. */
  readonly #hosts: readonly SharingName[];

  constructor(problem: PlanProblem) {
    const { model, fixed, cluster } = problem;
    const hosts = fixed.hostStates !== false && hostOf(cluster.device) !== undefined;
    this.#hosts = hosts ? limitsOf(problem).hostStates : [];
    const { experts, attention, dense, sharedExperts } = countParameters(model);
    this.#problem = problem;
    this.#experts = experts;
    this.#others = attention + dense + sharedExperts;
    const layers = model.moeLayers.map((_, layer) => layerParameters(model, layer));
    this.#expertsOfLayers = leastSums(layers.map((one) => one.experts));
    this.#othersOfLayers = leastSums(layers.map((one) => one.attention + one.dense + one.sharedExperts));
    const { weightShards: wanted } = fixed;
    this.#mostShards = wanted === undefined ? maxOf(shardSizes) : Math.max(wanted.dense, wanted.expert);
    this.#sharings = fixed.sharing === undefined ? limitsOf(problem).sharings : [fixed.sharing];
  }

  /**
   * Bytes of states on the fullest device: its mean share of the layers' weights, shared as far as any rule does.
   * Stages cannot all lie below the mean.
   */
  stateBytes(layout: Layout): number {
    return this.#statesOf(layout, this.#others / layout.pp, this.#experts / layout.pp);
  }

  /** Of so many elements of a stage, shared as far as any rule does. */
  #statesOf({ tp, cp, dp, ep, etp, edp }: Layout, others: number, experts: number): number {
    const dense = others / tp;
    const expert = experts / (ep * etp);
    const { weight, gradient, main, firstMoment, secondMoment } = precisions[this.#problem.states];
    const { weightShards: shards } = limitsOf(this.#problem);
    const sharded = dense / Math.min(this.#mostShards, dp) + expert / Math.min(this.#mostShards, edp);
    let least = Infinity;
    for (const name of this.#sharings) {
      const rule = sharingRules[name];
      const shared = dense / (dp * cp) + expert / edp;
      const of = (split: boolean): number => (split ? shared : dense + expert);
      const bytes =
        (shards.includes(name) ? sharded : of(rule.weights)) * weight +
        (shards.includes(name) ? sharded : of(rule.gradients)) * gradient +
        (this.#hosts.includes(name) ? 0 : of(rule.optimizer) * (main + firstMoment + secondMoment));
      least = Math.min(least, bytes);
    }
    return least;
  }

  /** Bytes of states on the first stage, as far as its layers go. */
  firstStateBytes(layout: Layout, batching: Batching): number {
    const { virtualStages, layersOfStages } = batching;
    const fewest = this.#fewestLayers(layout, batching);
    // In a V the first device holds the last of two chunks.
    const folded = layersOfStages?.at(-1) ?? fewest - 2 * (1 + this.#problem.model.multiTokenLayers);
    const layers = virtualStages === 2 ? fewest + Math.max(0, Math.min(fewest, folded)) : virtualStages * fewest;
    return this.#statesOf(layout, this.#othersOfLayers[layers] ?? 0, this.#expertsOfLayers[layers] ?? 0);
  }

  /**
   * Bytes of activations on the first stage under full recomputation: the input of each of its layers for every
   * micro-batch that it holds at a time.
   */
  activationBytes(layout: Layout, batching: Batching): number {
    const { model, sequence } = this.#problem;
    const { tp, cp, pp } = layout;
    const { virtualStages, microBatch, microBatches } = batching;
    const inputs = this.#fewestLayers(layout, batching) * virtualStages * Math.min(microBatches, pp);
    return (inputs * microBatch * sequence * model.hiddenSize * activationBytes) / (cp * tp);
  }

  /** Layers of the first stage's every chunk at least: ends may hold fewer than the others. */
  #fewestLayers({ pp }: Layout, { virtualStages, layersOfStages }: Batching): number {
    const { layers } = this.#problem.model;
    const stages = pp * virtualStages;
    if (layersOfStages !== undefined) return layersOfStages[0] ?? 0;
    return layers % stages === 0 ? layers / stages : Math.max(0, Math.floor(layers / stages) - 2);
  }
}
