/**
 * The most that a stage's passes hold, from rows of what parts of layers take: chunk by chunk what a forward and a
 * backward need at their worst moment and what is held between them, then the order of the pipeline.
 */
import type { ChunkKind, Run, StagePasses } from './in-flight.js';
import { costAt, costsWidth, gatheredAt, gatheredWidth, partAt } from './pass-costs.js';

/** Bytes of one layer's backward, relative to what is held before it, behind a row's costs; block after block. */
const blockAt = { moe: costsWidth, mlp: costsWidth + 3 } as const;
const againAt = 0;
const peakAt = 1;
const changeAt = 2;

/** Numbers behind a row's costs. */
const backwardsWidth = 6;

/** A number of a row. */
export const read = (row: Float64Array | Int32Array, place: number): number => row[place] ?? 0;

/** Weights of a unit that are whole while it is at work. */
const weightsOf = (gathered: Float64Array, unit: keyof typeof gatheredAt): number => read(gathered, gatheredAt[unit]);
const gradientsOf = (gathered: Float64Array, unit: keyof typeof gatheredAt): number =>
  read(gathered, gatheredAt[unit] + 1);

/** Weights of the unit that follows or precedes in a chunk: of a run's layers, or behind the last run `beyond`. */
function weightsAt(gathered: Float64Array, runs: readonly Run[], index: number, beyond: number): number {
  const run = runs[index];
  return run === undefined ? beyond : weightsOf(gathered, run.block);
}

/**
 * Passes of some stages in one row of numbers, for who asks very often. Of each stage: how many states there are; of
 * each state twice the place of the kind at work, one more for a backward, and how many passes of every kind are kept.
 */
export interface StagesPasses {
  /** Of all the stages. */
  readonly kinds: readonly ChunkKind[];
  readonly row: Int32Array;
}

export function inOneRow(stages: readonly StagePasses[]): StagesPasses {
  const kinds = [...new Set(stages.flatMap((stage) => stage.kinds))];
  const row = stages.flatMap((stage) => [
    stage.states.length,
    ...stage.states.flatMap(({ pass, kind, kept }) => [
      2 * kinds.indexOf(kind) + Number(pass === 'backward'),
      ...kinds.map((one) => kept[stage.kinds.indexOf(one)] ?? 0),
    ]),
  ]);
  return { kinds, row: Int32Array.from(row) };
}

/** Rows are written by who asks, then `begin` is called, then each stage is asked for in turn. */
export class PassPeaks {
  /** As `costAt` says, with what `writeBackwards` writes. */
  readonly costs = new Float64Array(costsWidth + backwardsWidth);
  /** As `gatheredAt` says. */
  readonly gathered = new Float64Array(gatheredWidth);
  /** By the place of a kind: what is held behind its forward, and what its passes need. */
  #held = new Float64Array(0);
  #passes = new Float64Array(0);
  #stages: StagesPasses = { kinds: [], row: new Int32Array(0) };
  #read = 0;

  begin(stages: StagesPasses): void {
    const { kinds } = stages;
    if (kinds.length > this.#held.length) {
      this.#held = new Float64Array(2 * kinds.length);
      this.#passes = new Float64Array(4 * kinds.length);
    }
    for (let place = 0; place < kinds.length; place++) {
      const kind = kinds[place];
      this.#chunkForward(kind, place);
      this.#passes[2 * place + 1] = this.#chunkBackward(kind);
    }
    this.#stages = stages;
    this.#read = 0;
  }

  /** The most bytes that the passes of the next stage hold at a time. */
  next(): number {
    const { kinds, row } = this.#stages;
    const passes = this.#passes;
    const held = this.#held;
    const count = kinds.length;
    let peak = 0;
    let at = this.#read;
    const states = read(row, at++);
    for (let state = 0; state < states; state++) {
      let bytes = read(passes, read(row, at++));
      for (let place = 0; place < count; place++) bytes += read(row, at++) * read(held, place);
      if (bytes > peak) peak = bytes;
    }
    this.#read = at;
    return peak;
  }

  /**
   * Weights of the unit at work and of the one behind it are whole. Layers of a run are alike, so that most is held at
   * the last of them, or at the one before, behind which another of its sort is gathered.
   */
  #chunkForward({ first, last, runs }: ChunkKind, place: number): void {
    const { costs, gathered } = this;
    const stream = read(costs, costAt.stream);
    const headWeights = last ? weightsOf(gathered, 'head') : 0;
    const attentionPeak = read(costs, costAt.attention + partAt.forwardPeak);
    const attentionKept = read(costs, costAt.attention + partAt.forwardKept);
    let held = (first || last ? read(costs, costAt.tokens) : 0) + read(costs, costAt.statistics);
    let forward = first
      ? held +
        (read(costs, costAt.embedding + partAt.forwardPeak) +
          weightsOf(gathered, 'embedding') +
          weightsAt(gathered, runs, 0, headWeights))
      : held + stream;
    for (let index = 0; index < runs.length; index++) {
      const { block, layers } = runs[index];
      const feedForwardPeak = read(costs, costAt[block] + partAt.forwardPeak);
      const kept = attentionKept + read(costs, costAt[block] + partAt.forwardKept);
      const own = weightsOf(gathered, block);
      const highest = Math.max(attentionPeak, attentionKept + feedForwardPeak);
      forward = Math.max(
        forward,
        held + (layers - 1) * kept + stream + own + weightsAt(gathered, runs, index + 1, headWeights) + highest,
      );
      if (layers > 1) forward = Math.max(forward, held + (layers - 2) * kept + stream + 2 * own + highest);
      held += layers * kept;
    }
    if (last) {
      forward = Math.max(forward, held + stream + read(costs, costAt.head + partAt.forwardPeak) + headWeights);
      held += read(costs, costAt.head + partAt.forwardKept);
    }
    this.#held[place] = held;
    this.#passes[2 * place] = forward;
  }

  /**
   * Relative to what is held. Besides the weights, gradients of the unit at work are whole from where its backward
   * begins, and those of the one before it until its end. Most is held at an end of a run of layers, or beside it.
   */
  #chunkBackward({ first, last, runs }: ChunkKind): number {
    const { costs, gathered } = this;
    const gradient = read(costs, costAt.gradient);
    const embeddingWeights = first ? weightsOf(gathered, 'embedding') : 0;
    const headGradients = last ? gradientsOf(gathered, 'head') : 0;
    let backward = last
      ? read(costs, costAt.head + partAt.backwardPeak) +
        (weightsOf(gathered, 'head') + headGradients + weightsAt(gathered, runs, runs.length - 1, embeddingWeights))
      : gradient;
    let now = gradient - (last ? read(costs, costAt.head + partAt.forwardKept) : 0);
    let gradientsBefore = headGradients;
    for (let index = runs.length - 1; index >= 0; index--) {
      const { block, layers } = runs[index];
      const at = blockAt[block];
      const change = read(costs, at + changeAt);
      const end = layers - 1;
      const next = weightsAt(gathered, runs, index - 1, embeddingWeights);
      const weights = weightsOf(gathered, block);
      const gradients = gradientsOf(gathered, block);
      // Layers are counted from the run's end, in which backwards begin.
      let most = weights + gradientsBefore + (end === 0 ? next : weights);
      if (end > 0) most = Math.max(most, end * change + weights + next + gradients);
      if (end > 1) most = Math.max(most, Math.max(change, (end - 1) * change) + 2 * weights + gradients);
      const beyond = Math.max(read(costs, at + againAt), gradients + read(costs, at + peakAt));
      backward = Math.max(backward, now + most + beyond);
      now += layers * change;
      gradientsBefore = gradients;
    }
    if (!first) return backward;
    const ends = embeddingWeights + gradientsOf(gathered, 'embedding') + gradientsBefore;
    return Math.max(backward, now + read(costs, costAt.embedding + partAt.backwardPeak) + ends);
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
  const stream = whole ? read(costs, costAt.again) : 0;
  const attentionAgain = read(costs, attention + partAt.againKept);
  const blockAgain = read(costs, own + partAt.againKept);
  let now = 0;
  let again = 0;
  if (whole) {
    again = read(costs, attention + partAt.againPeak);
    now += attentionAgain;
  }
  again = Math.max(again, now + read(costs, own + partAt.againPeak));
  now += blockAgain - stream;
  let peak = now + read(costs, own + partAt.backwardPeak);
  now -= blockAgain + read(costs, own + partAt.forwardKept);
  if (!whole) {
    peak = Math.max(peak, now + read(costs, attention + partAt.againPeak));
    now += attentionAgain;
  }
  peak = Math.max(peak, now + read(costs, attention + partAt.backwardPeak));
  now -= attentionAgain - stream + read(costs, attention + partAt.forwardKept);
  costs[blockAt[block] + againAt] = again;
  costs[blockAt[block] + peakAt] = peak;
  costs[blockAt[block] + changeAt] = now;
}
