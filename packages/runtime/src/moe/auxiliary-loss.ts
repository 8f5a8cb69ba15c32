/**
 * Hugging Face's load-balancing loss (`load_balancing_loss_func`), pooled over all layers with experts and all tokens:
 *
 *   loss = E * sum over experts of (picks of the expert / N) * (sum of its probabilities / N),   N = layers * tokens
 *
 * The share of picks is summed over the k picks and not divided by k, so the loss is near k when balanced. Counts and
 * probability sums are added over layers and ranks before their product: averaging the ranks' own losses is a different
 * number. Picks count as routed, dropped or not.
 */
import type { RouterShape } from './router.js';

/** Adds picks to the counts of their experts; float32 counts are exact up to 2^24. */
export function addPicks(ids: Int32Array, counts: Float32Array): void {
  for (const expert of ids) counts[expert] = counts[expert] + 1;
}

/** Adds one layer's picks and probability sums, both of `experts` elements. */
export function addAuxiliaryStatistics({
  shape,
  probabilities,
  ids,
  counts,
  probabilitySums,
}: {
  readonly shape: RouterShape;
  readonly probabilities: Float32Array;
  readonly ids: Int32Array;
  readonly counts: Float32Array;
  readonly probabilitySums: Float32Array;
}): void {
  const { tokens, experts, picks } = shape;
  addPicks(ids.subarray(0, tokens * picks), counts);
  for (let expert = 0; expert < experts; expert++) {
    let sum = 0;
    for (let token = 0; token < tokens; token++) sum += probabilities[token * experts + expert];
    probabilitySums[expert] = probabilitySums[expert] + sum;
  }
}

/** The loss, not multiplied by its coefficient. `pooledTokens` is N: layers with experts x tokens over all ranks. */
export function auxiliaryLoss(counts: Float32Array, probabilitySums: Float32Array, pooledTokens: number): number {
  if (pooledTokens === 0) return 0;
  let sum = 0;
  for (let expert = 0; expert < counts.length; expert++)
    sum += (counts[expert] / pooledTokens) * (probabilitySums[expert] / pooledTokens);
  return counts.length * sum;
}

/**
 * gradient[e] = coefficient * dloss / dprobability[token, e], the same for every token and layer; counts are constants.
 */
export function auxiliaryGradient(
  counts: Float32Array,
  pooledTokens: number,
  coefficient: number,
  gradient: Float32Array,
): void {
  if (pooledTokens === 0) {
    gradient.fill(0);
    return;
  }
  for (let expert = 0; expert < counts.length; expert++)
    gradient[expert] = (coefficient * counts.length * counts[expert]) / pooledTokens / pooledTokens;
}
