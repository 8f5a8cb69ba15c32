/** What a step needs at least, whatever is left open: cheap enough for every point of a space. */
import { hostOf, shardSizes, type PipelineSchedule } from '../../estimate/index.js';
import { precisions, sharingRules, type SharingName } from '../../memory/index.js';
import { countParameters, layerParameters } from '../../model/parameters.js';
import { maxOf } from '../../units/lists.js';
import type { Layout } from '../../layout/layout.js';
import { limitsOf } from '../space/frameworks.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';

/** Bytes of an element of activations in 16 bits. */
const activationBytes = 2;

/** Sums of the least numbers: of none, of one, of two. */
function leastSums(numbers: readonly number[]): number[] {
  const sums = [0];
  for (const one of [...numbers].sort((a, b) => a - b)) sums.push((sums.at(-1) ?? 0) + one);
  return sums;
}

/** Bytes of an element by what of the ranks they are split over. */
interface SharedBytes {
  readonly whole: number;
  readonly overShards: number;
  readonly overAll: number;
}

/** `hosts`: the optimizer's states may lie in the host's memory. */
function sharedBytes(problem: PlanProblem, name: SharingName, hosts: boolean): SharedBytes {
  const { weight, gradient, main, firstMoment, secondMoment } = precisions[problem.states];
  const { weightShards, hostStates } = limitsOf(problem);
  const rule = sharingRules[name];
  const bytes = { whole: 0, overShards: 0, overAll: 0 };
  const add = (split: boolean, own: number): void => {
    bytes[split ? 'overAll' : 'whole'] += own;
  };
  if (weightShards.includes(name)) bytes.overShards = weight + gradient;
  else {
    add(rule.weights, weight);
    add(rule.gradients, gradient);
  }
  if (!hosts || !hostStates.includes(name)) add(rule.optimizer, main + firstMoment + secondMoment);
  return bytes;
}

/**
 * How many times its passes, shared evenly over the stages, a step takes at least under a schedule (`bubbleSeconds`).
 * Gradients of weights are a third of its passes at most: a backward is twice as many products as a forward.
 *
 * In 1F1B the slowest stage waits for a micro-batch on all others. Zero-bubble fills that with gradients of weights,
 * which grow with the slowest stage: either stages are even and a third is left, or it is so slow that nothing is. In
 * DualPipe (F + 2B - 3W) is two thirds of a stage's passes at least.
 */
export function timesWaiting({ layout, virtualStages, microBatches }: SpacePoint, schedule: PipelineSchedule): number {
  const { pp } = layout;
  if (pp === 1) return 1;
  switch (schedule) {
    case '1f1b':
    case 'interleaved':
      return 1 + (pp - 1) / (virtualStages * microBatches);
    case 'zero-bubble':
      return Math.min(1 + (pp - 1) / (3 * microBatches), pp / (1 + (2 * (pp - 1)) / 3));
    case 'dualpipe':
      return 1 + (pp - 2) / (3 * microBatches);
    case 'dualpipe-v':
      return 1 + (pp - 1) / (3 * microBatches);
  }
}

/** The least of it under any of some schedules. */
export function leastWaiting(point: SpacePoint, schedules: readonly PipelineSchedule[]): number {
  let least = Infinity;
  for (let index = 0; index < schedules.length; index++)
    least = Math.min(least, timesWaiting(point, schedules[index] ?? '1f1b'));
  return least;
}

/** How layers lie on stages. */
type Split = Pick<SpacePoint, 'virtualStages' | 'layersOfStages'>;

export class Bounds {
  readonly #problem: PlanProblem;
  readonly #experts: number;
  readonly #others: number;
  /** Of so many layers at least. */
  readonly #expertsOfLayers: readonly number[];
  readonly #othersOfLayers: readonly number[];
  /** Rules of sharing, each once: which bytes of an element are split over all ranks, over shards, and over none. */
  readonly #rules: readonly SharedBytes[];
  /** Ranks that weights are split over at most where they are not split over all. */
  readonly #mostShards: number;

  constructor(problem: PlanProblem) {
    const { model, fixed, cluster } = problem;
    const hosts = fixed.hostStates !== false && hostOf(cluster.device) !== undefined;
    const { experts, attention, dense, sharedExperts } = countParameters(model);
    this.#problem = problem;
    this.#experts = experts;
    this.#others = attention + dense + sharedExperts;
    const layers = model.moeLayers.map((_, layer) => layerParameters(model, layer));
    this.#expertsOfLayers = leastSums(layers.map((one) => one.experts));
    this.#othersOfLayers = leastSums(layers.map((one) => one.attention + one.dense + one.sharedExperts));
    const { weightShards: wanted } = fixed;
    this.#mostShards = wanted === undefined ? maxOf(shardSizes) : Math.max(wanted.dense, wanted.expert);
    const sharings = fixed.sharing === undefined ? limitsOf(problem).sharings : [fixed.sharing];
    this.#rules = sharings.map((name) => sharedBytes(problem, name, hosts));
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
    const sharded = dense / Math.min(this.#mostShards, dp) + expert / Math.min(this.#mostShards, edp);
    const shared = dense / (dp * cp) + expert / edp;
    let least = Infinity;
    for (const { whole, overShards, overAll } of this.#rules)
      least = Math.min(least, (dense + expert) * whole + sharded * overShards + shared * overAll);
    return least;
  }

  /** Bytes of states on the first stage, as far as its layers go. `fewest`: as `fewestLayers`. */
  firstStateBytes(layout: Layout, { virtualStages, layersOfStages }: Split, fewest: number): number {
    // In a V the first device holds the last of two chunks.
    const folded = layersOfStages?.at(-1) ?? fewest - 2 * (1 + this.#problem.model.multiTokenLayers);
    const layers = virtualStages === 2 ? fewest + Math.max(0, Math.min(fewest, folded)) : virtualStages * fewest;
    return this.#statesOf(layout, this.#othersOfLayers[layers] ?? 0, this.#expertsOfLayers[layers] ?? 0);
  }

  /**
   * Bytes of activations on the first stage under full recomputation: the input of each of its layers for every
   * micro-batch that it holds at a time. `fewest`: as `fewestLayers`.
   */
  activationBytes({ layout, virtualStages, microBatch, microBatches }: SpacePoint, fewest: number): number {
    const { tp, cp, pp } = layout;
    const { model, sequence } = this.#problem;
    const inputs = fewest * virtualStages * Math.min(microBatches, pp);
    return (inputs * microBatch * sequence * model.hiddenSize * activationBytes) / (cp * tp);
  }

  /** Layers of the first stage's every chunk at least: ends may hold fewer than the others. */
  fewestLayers({ pp }: Layout, { virtualStages, layersOfStages }: Split): number {
    const { layers } = this.#problem.model;
    const stages = pp * virtualStages;
    if (layersOfStages !== undefined) return layersOfStages[0] ?? 0;
    return layers % stages === 0 ? layers / stages : Math.max(0, Math.floor(layers / stages) - 2);
  }
}
