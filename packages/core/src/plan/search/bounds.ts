/** What a step needs at least, whatever is left open: cheap enough for every point of a space. */
import { hostOf } from '../../estimate/index.js';
import { precisions, sharingRules, type SharingName } from '../../memory/index.js';
import { countParameters } from '../../model/parameters.js';
import type { Layout } from '../../layout/layout.js';
import { limitsOf } from '../space/frameworks.js';
import type { PlanProblem } from '../space/problem.js';
import type { Batching } from '../space/climb.js';

/** Bytes of an element of activations in 16 bits. */
const activationBytes = 2;

/** Ranks that weights are split over at most where they are not split over all. */
const mostShards = 8;

export class Bounds {
  readonly #problem: PlanProblem;
  readonly #experts: number;
  readonly #others: number;
  readonly #sharings: readonly SharingName[];
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
    this.#sharings = fixed.sharing === undefined ? limitsOf(problem).sharings : [fixed.sharing];
  }

  /**
   * Bytes of states on the fullest device: its mean share of the layers' weights, shared as far as any rule does.
   * Stages cannot all lie below the mean.
   */
  stateBytes(layout: Layout): number {
    const { tp, cp, dp, pp, ep, etp, edp } = layout;
    const dense = this.#others / (tp * pp);
    const expert = this.#experts / (ep * etp * pp);
    const { weight, gradient, main, firstMoment, secondMoment } = precisions[this.#problem.states];
    const { weightShards: shards } = limitsOf(this.#problem);
    const sharded = dense / Math.min(mostShards, dp) + expert / Math.min(mostShards, edp);
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

  /**
   * Bytes of activations on the first stage under full recomputation: the input of each of its layers for every
   * micro-batch that it holds at a time.
   */
  activationBytes(
    { tp, cp, pp }: Layout,
    { virtualStages, microBatch, microBatches, layersOfStages }: Batching,
  ): number {
    const { model, sequence } = this.#problem;
    const held = Math.min(microBatches * virtualStages, pp * virtualStages) / virtualStages;
    // Stages at the ends may hold fewer layers than the others.
    const fewest = layersOfStages?.[0] ?? Math.max(0, Math.floor(model.layers / (pp * virtualStages)) - 2);
    return (fewest * virtualStages * held * microBatch * sequence * model.hiddenSize * activationBytes) / (cp * tp);
  }
}
