/** Picks drawn from a routing, token by token: what a benchmark dispatches. */
import { expertProbabilities, Random, type MoeShape, type Routing } from '@monta/core';
import { dropByProbability, expertCapacity } from '../moe/index.js';

export interface SampledPicks {
  /** [T, k]; ~id where capacity dropped the pick. */
  readonly ids: Int32Array;
  /** [T, k], positive, summing to 1 over the k picks; 0 where dropped. */
  readonly weights: Float32Array;
}

/**
 * Picks of one replica's T tokens: k different experts by successive draws without replacement in proportion to the
 * routing's weights (the k largest of log weight + Gumbel noise, Kool, van Hoof and Welling, ICML 2019). Seeded per
 * replica, so all its ranks draw the same.
 */
export function samplePicks(shape: MoeShape, routing: Routing, seed: number, replica: number): SampledPicks {
  const { tokens, topK: k, experts, layout, capacityFactor } = shape;
  const random = new Random(seed, replica);
  const ids = new Int32Array(tokens * k);
  const weights = new Float32Array(tokens * k);
  const score = new Float64Array(experts);
  const order = Array.from({ length: experts }, (_, expert) => expert);
  let logs = new Float64Array(experts);
  let source = -1;
  for (let token = 0; token < tokens; token++) {
    // Sources of a recording are the token slices: slice i of this replica.
    const slice = Math.floor(((token + 1) * layout.tp - 1) / tokens) + replica * layout.tp;
    if (slice !== source) {
      source = slice;
      logs = expertProbabilities(routing, experts, source).map((weight) => Math.log(weight));
    }
    for (let expert = 0; expert < experts; expert++) score[expert] = logs[expert] + random.gumbel();
    order.sort((a, b) => score[b] - score[a]);
    let sum = 0;
    for (let j = 0; j < k; j++) {
      ids[token * k + j] = order[j];
      sum += weights[token * k + j] = 0.5 + random.uniform();
    }
    for (let j = 0; j < k; j++) weights[token * k + j] /= sum;
  }
  if (capacityFactor !== undefined) drop(shape, capacityFactor, ids, weights);
  return { ids, weights };
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
