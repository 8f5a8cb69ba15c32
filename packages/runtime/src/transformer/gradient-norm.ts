/** Global gradient norm and clipping, as PyTorch's `clip_grad_norm_`. */

/** Added to the norm in the divisor, as PyTorch does. */
const clipEpsilon = 1e-6;

/**
 * Sum of squares in float64. Under parallelism each rank passes only the gradients that it alone counts (a shard, or
 * the one copy among replicas), and the caller adds the sums over the ranks.
 */
export function sumOfSquares(gradients: readonly Float32Array[]): number {
  let sum = 0;
  // Indexed: iterating a typed array by for…of costs ten times as much.
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) sum += gradient[i] * gradient[i];
  return sum;
}

/**
 * What gradients are multiplied by: min(1, maxNorm / (norm + 1e-6)). A norm that is not finite gives NaN: the caller
 * must not step.
 */
export function clippingFactor(norm: number, maxNorm: number): number {
  return Number.isFinite(norm) ? Math.min(1, maxNorm / (norm + clipEpsilon)) : NaN;
}
