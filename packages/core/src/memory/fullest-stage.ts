/**
 * Bytes of the fullest of some stages. A search asks for settings one after another that differ in what ranks share
 * alone: what is the same as before is not worked out again.
 */
import type { Layout } from '../layout/layout.js';
import { elementsAt } from './element-rows.js';
import { gatheredWidth } from './pass-costs.js';
import { PassPeaks, type StagesPasses } from './pass-peaks.js';
import type { StateRates, WeightShards } from './states.js';
import type { CostLines } from './template-lines.js';

/** Stages among which the fullest is. */
export interface Stages {
  readonly passes: StagesPasses;
  /** `holdingRow` of each. */
  readonly holdings: Int32Array;
}

/** Elements of a stage, dense and experts', and bytes of what stands in for fused gradients. */
const heldWidth = 3;

const nothingGathered = new Float64Array(gatheredWidth);
/** Of no pipeline. */
export const noStages: Stages = {
  passes: { stages: 0, states: new Int32Array(0), kinds: 0, chunks: new Int32Array(0) },
  holdings: new Int32Array(0),
};

export class FullestStage {
  readonly #passes = new PassPeaks();
  #costs: CostLines | undefined;
  #tokens = 0;
  #rank: Float64Array | undefined;
  #stages = noStages;
  /** By stage, `heldWidth` numbers. */
  #held = new Float64Array(0);
  /** By stage, the most that its passes hold: beside what is gathered, where that is known, and with it. */
  #plain = new Float64Array(0);
  #peaks = new Float64Array(0);
  #knowsPlain = false;

  /** What is asked for: lines of the templates, at so many tokens of a rank; its weights (`partRow`); its stages. */
  prepare(costs: CostLines, tokens: number, rank: Float64Array, stages: Stages): void {
    const count = stages.passes.stages;
    if (count > this.#plain.length) {
      this.#held = new Float64Array(2 * count * heldWidth);
      this.#plain = new Float64Array(2 * count);
      this.#peaks = new Float64Array(2 * count);
    }
    if (costs !== this.#costs || tokens !== this.#tokens) {
      costs.write(this.#passes.costs, tokens);
      this.#costs = costs;
      this.#tokens = tokens;
      this.#knowsPlain = false;
    }
    if (rank === this.#rank && stages === this.#stages) return;
    if (stages !== this.#stages) this.#knowsPlain = false;
    this.#rank = rank;
    this.#stages = stages;
    this.#addUp(rank, stages.holdings);
  }

  #addUp(rank: Float64Array, holdings: Int32Array): void {
    const held = this.#held;
    for (let at = 0, to = 0; at < holdings.length; to += heldWidth) {
      const moe = holdings[at] ?? 0;
      const mlp = holdings[at + 1] ?? 0;
      const end = holdings[at + 2] ?? 0;
      let dense = (rank[end] ?? 0) + moe * (rank[elementsAt.moe] ?? 0) + mlp * (rank[elementsAt.mlp] ?? 0);
      let expert = (rank[end + 1] ?? 0) + moe * (rank[elementsAt.moe + 1] ?? 0) + mlp * (rank[elementsAt.mlp + 1] ?? 0);
      held[to + 2] = rank[holdings[at + 3] ?? 0] ?? 0;
      const next = at + 5 + (holdings[at + 4] ?? 0);
      for (at += 5; at < next; at++) {
        const place = holdings[at] ?? 0;
        dense += rank[place] ?? 0;
        expert += rank[place + 1] ?? 0;
      }
      held[to] = dense;
      held[to + 1] = expert;
    }
  }

  /**
   * Bytes of states and passes on the fullest stage of what was prepared. `gathered`: as `gatheredAt` says; nothing
   * where it is left out, and then no more than with anything.
   */
  bytes(
    { dp, cp, edp }: Layout,
    { own, shared }: StateRates,
    { dense: denseShards, expert: expertShards }: WeightShards,
    gathered?: Float64Array,
  ): number {
    const peaks = this.#peaksWith(gathered);
    const held = this.#held;
    const count = this.#stages.passes.stages;
    const sharers = dp * cp;
    let most = 0;
    for (let stage = 0, at = 0; stage < count; stage++, at += heldWidth) {
      const dense = held[at] ?? 0;
      const expert = held[at + 1] ?? 0;
      const kept = Math.ceil(dense / denseShards) + Math.ceil(expert / expertShards);
      const split = Math.ceil(dense / sharers) + Math.ceil(expert / edp);
      most = Math.max(most, kept * own + split * shared + (held[at + 2] ?? 0) + (peaks[stage] ?? 0));
    }
    return most;
  }

  #peaksWith(gathered: Float64Array | undefined): Float64Array {
    if (gathered !== undefined) {
      this.#passes.write(this.#peaks, this.#stages.passes, gathered);
      return this.#peaks;
    }
    if (!this.#knowsPlain) this.#passes.write(this.#plain, this.#stages.passes, nothingGathered);
    this.#knowsPlain = true;
    return this.#plain;
  }
}
