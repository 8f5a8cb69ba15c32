/** Picks drawn from a routing, token by token: what a benchmark dispatches. */
import { Random } from '@monta/core/units';
import { coordinates, groupMembers } from '@monta/core/layout';
import { expertProbabilities, groupLimitedPicks, recordedPicks } from '@monta/core/routing';
import { sliceStart } from '@monta/core/schedule';
import type { MoeShape, Routing } from '@monta/core';
import { dropByProbability, expertCapacity } from '../moe/index.js';

export interface SampledPicks {
  /** [T, k]; ~id where capacity dropped the pick. */
  readonly ids: Int32Array;
  /** [T, k], positive, summing to 1 over the k picks; 0 where dropped. */
  readonly weights: Float32Array;
}

/** The k experts of a token, which is the `index`-th of its slice; slices are counted over the job. */
type Chooser = (slice: number, index: number) => readonly number[];

/** Draws without replacement in proportion to the routing's weights: the k largest of log weight + Gumbel noise. */
function byWeights(shape: MoeShape, routing: Routing, random: Random): Chooser {
  const { experts, topK } = shape;
  const score = new Float64Array(experts);
  const order = Array.from({ length: experts }, (_, expert) => expert);
  let logs = new Float64Array(experts);
  let known = -1;
  return (slice) => {
    if (slice !== known) logs = expertProbabilities(routing, experts, (known = slice)).map((w) => Math.log(w));
    for (let expert = 0; expert < experts; expert++) score[expert] = logs[expert] + random.gumbel();
    order.sort((a, b) => score[b] - score[a]);
    return order.slice(0, topK);
  };
}

function chooserOf(shape: MoeShape, routing: Routing, random: Random): Chooser {
  const { experts, topK, tokens, layout } = shape;
  if (routing.kind === 'group-limited') {
    return () => [...groupLimitedPicks({ experts, topK, limit: routing, tokens: 1 }, random)];
  }
  if (routing.kind === 'recorded' && routing.choices !== undefined) {
    const longest = Math.ceil(tokens / layout.tp);
    const bySlice = new Map<number, Int32Array>();
    return (slice, index) => {
      const ids = bySlice.get(slice) ?? recordedPicks(routing, slice, longest);
      if (ids === undefined) throw new RangeError('the recording has no choices');
      bySlice.set(slice, ids);
      return [...ids.subarray(index * topK, (index + 1) * topK)];
    };
  }
  return byWeights(shape, routing, random);
}

/** What was drawn for a shape, by replica: many ways to dispatch are measured on the same picks. */
interface Drawn {
  readonly routing: Routing;
  readonly seed: number;
  readonly ofReplica: Map<number, SampledPicks>;
}
const drawnFor = new WeakMap<MoeShape, Drawn>();

/** As `drawPicks`, once for the same shape; nobody writes to them. */
export function samplePicks(shape: MoeShape, routing: Routing, seed: number, replica: number): SampledPicks {
  let drawn = drawnFor.get(shape);
  if (drawn?.routing !== routing || drawn.seed !== seed)
    drawnFor.set(shape, (drawn = { routing, seed, ofReplica: new Map() }));
  const known = drawn.ofReplica.get(replica);
  const picks = known ?? drawPicks(shape, routing, seed, replica);
  if (known === undefined) drawn.ofReplica.set(replica, picks);
  return picks;
}

/**
 * Picks of one replica's T tokens: k different experts by successive draws without replacement in proportion to the
 * routing's weights (Gumbel top-k: Kool, van Hoof and Welling, ICML 2019), limited to groups, or as they were recorded.
 * Seeded per replica, so all its ranks draw the same.
 */
function drawPicks(shape: MoeShape, routing: Routing, seed: number, replica: number): SampledPicks {
  const { tokens, topK: k, layout, capacityFactor } = shape;
  const random = new Random(seed, replica);
  const ids = new Int32Array(tokens * k);
  const weights = new Float32Array(tokens * k);
  const choose = chooserOf(shape, routing, random);
  for (let token = 0; token < tokens; token++) {
    // Sources of a recording are the token slices: slice i of this replica.
    const slice = Math.floor(((token + 1) * layout.tp - 1) / tokens);
    ids.set(choose(slice + replica * layout.tp, token - sliceStart(tokens, slice, layout.tp)), token * k);
    let sum = 0;
    for (let j = 0; j < k; j++) sum += weights[token * k + j] = 0.5 + random.uniform();
    for (let j = 0; j < k; j++) weights[token * k + j] /= sum;
  }
  if (capacityFactor !== undefined) drop(shape, capacityFactor, ids, weights);
  return { ids, weights };
}

/** What is drawn for the slice of every member of the expert group of a rank, in the order of the group. */
export function groupPicks(shape: MoeShape, routing: Routing, seed: number, rank: number): SampledPicks[] {
  const { layout, tokens, topK } = shape;
  const drawn = new Map<number, SampledPicks>();
  return groupMembers(layout, 'expert', rank).map((member) => {
    const { tp, dp } = coordinates(layout, member);
    const picks = drawn.get(dp) ?? samplePicks(shape, routing, seed, dp);
    drawn.set(dp, picks);
    const [start, end] = [tp, tp + 1].map((slice) => sliceStart(tokens, slice, layout.tp) * topK);
    return { ids: picks.ids.subarray(start, end), weights: picks.weights.subarray(start, end) };
  });
}

function drop(shape: MoeShape, capacityFactor: number, ids: Int32Array, weights: Float32Array): void {
  const { tokens, topK: k, experts } = shape;
  const gates = new Float32Array(tokens * experts);
  ids.forEach((id, pick) => (gates[Math.floor(pick / k) * experts + id] = weights[pick]));
  const kept = new Uint8Array(ids.length);
  const capacity = expertCapacity(capacityFactor, tokens, k, experts);
  dropByProbability({
    shape: { tokens, experts, picks: k, renormalise: false },
    capacity,
    probabilities: gates,
    ids,
    kept,
    weights,
  });
  kept.forEach((keep, pick) => {
    if (keep === 0) ids[pick] = ~ids[pick];
  });
}
