/**
 * The most that a stage's passes hold, from rows of what parts of layers take: chunk by chunk what a forward and a
 * backward need at their worst moment and what is held between them, then the order of the pipeline.
 */
import type { Run, StagePasses } from './in-flight.js';
import { costAt, costsWidth, gatheredAt, partAt } from './pass-costs.js';

/** Bytes of one layer's backward, relative to what is held before it, behind a row's costs; block after block. */
const blockAt = { moe: costsWidth, mlp: costsWidth + 3 } as const;
const againAt = 0;
const peakAt = 1;
const changeAt = 2;

/** Numbers behind a row's costs. */
const backwardsWidth = 6;

/** What lies a block behind that of layers with experts: places of its costs, its backward, and its weights. */
const costsOfBlock = costAt.mlp - costAt.moe;
const backwardOfBlock = blockAt.mlp - blockAt.moe;
const weightsOfBlock = gatheredAt.mlp - gatheredAt.moe;

/**
 * Passes of some stages in rows of numbers, for who asks very often. Of each stage: how many states there are; of each
 * state twice the place of the kind at work, one more for a backward, and how many passes of every kind are kept.
 */
export interface StagesPasses {
  readonly stages: number;
  readonly states: Int32Array;
  /** Kinds of all the stages. */
  readonly kinds: number;
  /** Of each kind: whether it is the first and the last, how many runs follow; of a run its block and its layers. */
  readonly chunks: Int32Array;
}

/** Numbers of a kind in front of its runs, and of a run: its block is 0 with experts, 1 without. */
const [headWidth, runWidth] = [3, 2];

export function inOneRow(stages: readonly StagePasses[]): StagesPasses {
  const kinds = [...new Set(stages.flatMap((stage) => stage.kinds))];
  const states: number[] = [];
  for (const stage of stages) {
    const places = kinds.map((kind) => stage.kinds.indexOf(kind));
    states.push(stage.states.length);
    for (const { pass, kind, kept } of stage.states) {
      states.push(2 * kinds.indexOf(kind) + Number(pass === 'backward'));
      for (const place of places) states.push(place < 0 ? 0 : (kept[place] ?? 0));
    }
  }
  const chunks: number[] = [];
  for (const { first, last, runs } of kinds) {
    chunks.push(Number(first), Number(last), runs.length);
    for (const { block, layers } of runs) chunks.push(Number(block === 'mlp'), layers);
  }
  return {
    stages: stages.length,
    states: Int32Array.from(states),
    kinds: kinds.length,
    chunks: Int32Array.from(chunks),
  };
}

/** What passes of stages hold, from costs that who asks has written. */
export class PassPeaks {
  /** As `costAt` says, with what `writeBackwards` writes. */
  readonly costs = new Float64Array(costsWidth + backwardsWidth);
  /** By the place of a kind: what is held behind its forward, and what its passes need. */
  #held = new Float64Array(0);
  #passes = new Float64Array(0);

  /**
   * Writes the most bytes that the passes of each stage hold at a time. `gathered`: as `gatheredAt` says. What is
   * written does not grow where less is gathered.
   */
  write(to: Float64Array, { stages, states, kinds, chunks }: StagesPasses, gathered: Float64Array): void {
    if (kinds > this.#held.length) {
      this.#held = new Float64Array(2 * kinds);
      this.#passes = new Float64Array(4 * kinds);
    }
    const held = this.#held;
    const passes = this.#passes;
    for (let kind = 0, at = 0; kind < kinds; kind++) {
      this.#chunkForward(chunks, at, gathered, kind);
      this.#chunkBackward(chunks, at, gathered, kind);
      at += headWidth + runWidth * (chunks[at + 2] ?? 0);
    }
    for (let stage = 0, at = 0; stage < stages; stage++) {
      let peak = 0;
      const end = at + 1 + (states[at] ?? 0) * (1 + kinds);
      for (at += 1; at < end; at += 1 + kinds) {
        let bytes = passes[states[at] ?? 0] ?? 0;
        for (let kind = 0; kind < kinds; kind++) bytes += (states[at + 1 + kind] ?? 0) * (held[kind] ?? 0);
        if (bytes > peak) peak = bytes;
      }
      to[stage] = peak;
    }
  }

  /**
   * Weights of the unit at work and of the one behind it are whole. Layers of a run are alike, so that most is held at
   * the last of them, or at the one before, behind which another of its sort is gathered. `at`: the place of the chunk.
   */
  #chunkForward(chunks: Int32Array, at: number, gathered: Float64Array, kind: number): void {
    const { costs } = this;
    const first = chunks[at] === 1;
    const last = chunks[at + 1] === 1;
    const runs = at + headWidth;
    const end = runs + runWidth * (chunks[at + 2] ?? 0);
    const stream = costs[costAt.stream] ?? 0;
    const headWeights = last ? (gathered[gatheredAt.head] ?? 0) : 0;
    const attentionPeak = costs[costAt.attention + partAt.forwardPeak] ?? 0;
    const attentionKept = costs[costAt.attention + partAt.forwardKept] ?? 0;
    let held = (first || last ? (costs[costAt.tokens] ?? 0) : 0) + (costs[costAt.statistics] ?? 0);
    const behindFirst = first ? this.#weightsOfRun(chunks, gathered, runs < end ? runs : -1, headWeights) : 0;
    let forward = first
      ? held +
        ((costs[costAt.embedding + partAt.forwardPeak] ?? 0) + (gathered[gatheredAt.embedding] ?? 0) + behindFirst)
      : held + stream;
    for (let run = runs; run < end; run += runWidth) {
      const block = chunks[run] ?? 0;
      const layers = chunks[run + 1] ?? 0;
      const part = costAt.moe + block * costsOfBlock;
      const kept = attentionKept + (costs[part + partAt.forwardKept] ?? 0);
      const own = gathered[gatheredAt.moe + block * weightsOfBlock] ?? 0;
      const next = run + runWidth;
      const behind = this.#weightsOfRun(chunks, gathered, next < end ? next : -1, headWeights);
      const highest = Math.max(attentionPeak, attentionKept + (costs[part + partAt.forwardPeak] ?? 0));
      forward = Math.max(forward, held + (layers - 1) * kept + stream + own + behind + highest);
      if (layers > 1) forward = Math.max(forward, held + (layers - 2) * kept + stream + 2 * own + highest);
      held += layers * kept;
    }
    if (last) {
      const peak = costs[costAt.head + partAt.forwardPeak] ?? 0;
      forward = Math.max(forward, held + stream + peak + headWeights);
      held += costs[costAt.head + partAt.forwardKept] ?? 0;
    }
    this.#held[kind] = held;
    this.#passes[2 * kind] = forward;
  }

  /** Weights of the unit that follows or precedes in a chunk: of a run's layers, or where there is none `beyond`. */
  #weightsOfRun(chunks: Int32Array, gathered: Float64Array, run: number, beyond: number): number {
    return run < 0 ? beyond : (gathered[gatheredAt.moe + (chunks[run] ?? 0) * weightsOfBlock] ?? 0);
  }

  /**
   * Relative to what is held. Besides the weights, gradients of the unit at work are whole from where its backward
   * begins, and those of the one before it until its end. Most is held at an end of a run of layers, or beside it.
   */
  #chunkBackward(chunks: Int32Array, at: number, gathered: Float64Array, kind: number): void {
    const { costs } = this;
    const first = chunks[at] === 1;
    const last = chunks[at + 1] === 1;
    const runs = at + headWidth;
    const lastRun = runs + runWidth * ((chunks[at + 2] ?? 0) - 1);
    const gradient = costs[costAt.gradient] ?? 0;
    const embeddingWeights = first ? (gathered[gatheredAt.embedding] ?? 0) : 0;
    const headGradients = last ? (gathered[gatheredAt.head + 1] ?? 0) : 0;
    const beforeLast = this.#weightsOfRun(chunks, gathered, lastRun < runs ? -1 : lastRun, embeddingWeights);
    let backward = last
      ? (costs[costAt.head + partAt.backwardPeak] ?? 0) +
        ((gathered[gatheredAt.head] ?? 0) + headGradients + beforeLast)
      : gradient;
    let now = gradient - (last ? (costs[costAt.head + partAt.forwardKept] ?? 0) : 0);
    let gradientsBefore = headGradients;
    for (let run = lastRun; run >= runs; run -= runWidth) {
      const block = chunks[run] ?? 0;
      const layers = chunks[run + 1] ?? 0;
      const own = blockAt.moe + block * backwardOfBlock;
      const change = costs[own + changeAt] ?? 0;
      const end = layers - 1;
      const before = run - runWidth;
      const next = this.#weightsOfRun(chunks, gathered, before < runs ? -1 : before, embeddingWeights);
      const weights = gathered[gatheredAt.moe + block * weightsOfBlock] ?? 0;
      const gradients = gathered[gatheredAt.moe + block * weightsOfBlock + 1] ?? 0;
      // Layers are counted from the run's end, in which backwards begin.
      let most = weights + gradientsBefore + (end === 0 ? next : weights);
      if (end > 0) most = Math.max(most, end * change + weights + next + gradients);
      if (end > 1) most = Math.max(most, Math.max(change, (end - 1) * change) + 2 * weights + gradients);
      const beyond = Math.max(costs[own + againAt] ?? 0, gradients + (costs[own + peakAt] ?? 0));
      backward = Math.max(backward, now + most + beyond);
      now += layers * change;
      gradientsBefore = gradients;
    }
    if (first) {
      const ends = embeddingWeights + (gathered[gatheredAt.embedding + 1] ?? 0) + gradientsBefore;
      backward = Math.max(backward, now + (costs[costAt.embedding + partAt.backwardPeak] ?? 0) + ends);
    }
    this.#passes[2 * kind + 1] = backward;
  }
}

/** Writes what layers' backwards hold behind a row's costs. `whole`: layers are computed again from their input. */
export function writeBackwards(costs: Float64Array, whole: boolean): void {
  writeBackward(costs, 'moe', whole);
  writeBackward(costs, 'mlp', whole);
}

/** A layer's highest before gradients of weights are made (while it is computed again), its peak, what it leaves. */
function writeBackward(costs: Float64Array, block: Run['block'], whole: boolean): void {
  const { attention } = costAt;
  const own = costAt[block];
  // The stream that attention computes again is there until the feed-forward has been computed again.
  const stream = whole ? (costs[costAt.again] ?? 0) : 0;
  const attentionAgain = costs[attention + partAt.againKept] ?? 0;
  const blockAgain = costs[own + partAt.againKept] ?? 0;
  let now = 0;
  let again = 0;
  if (whole) {
    again = costs[attention + partAt.againPeak] ?? 0;
    now += attentionAgain;
  }
  again = Math.max(again, now + (costs[own + partAt.againPeak] ?? 0));
  now += blockAgain - stream;
  let peak = now + (costs[own + partAt.backwardPeak] ?? 0);
  now -= blockAgain + (costs[own + partAt.forwardKept] ?? 0);
  if (!whole) {
    peak = Math.max(peak, now + (costs[attention + partAt.againPeak] ?? 0));
    now += attentionAgain;
  }
  peak = Math.max(peak, now + (costs[attention + partAt.backwardPeak] ?? 0));
  now -= attentionAgain - stream + (costs[attention + partAt.forwardKept] ?? 0);
  costs[blockAt[block] + againAt] = again;
  costs[blockAt[block] + peakAt] = peak;
  costs[blockAt[block] + changeAt] = now;
}
