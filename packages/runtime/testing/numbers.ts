/** What the tests of the kernels share: seeded numbers, finite differences and errors. */
import { Random } from '@monta/core';

/** Seeded uniform numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  const random = new Random(seed);
  return () => random.uniform();
}

/** `length` seeded numbers, uniform in [-scale, scale). */
export function randomArray(length: number, random: () => number, scale = 1): Float32Array {
  return Float32Array.from({ length }, () => (2 * random() - 1) * scale);
}

/**
 * Gradient of `loss` with respect to `values` by central differences. `loss` reads `values`, which is restored. The
 * step is a power of two so that value +- step is exact or nearly so in float32; rounding of float32 forward passes
 * leaves about 1e-3.
 */
export function finiteDifferences(values: Float32Array, loss: () => number, step = 2 ** -8): Float32Array {
  return values.map((value, i) => {
    values[i] = value + step;
    const up = values[i];
    const above = loss();
    values[i] = value - step;
    const down = values[i];
    const below = loss();
    values[i] = value;
    return (above - below) / (up - down);
  });
}

/**
 * Largest absolute difference over the largest magnitude of `expected`; Infinity when lengths differ or something is
 * not finite.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i];
    const e = expected[i];
    if (!Number.isFinite(a) || !Number.isFinite(e)) return Infinity;
    difference = Math.max(difference, Math.abs(a - e));
    largest = Math.max(largest, Math.abs(e));
  }
  return difference === 0 ? 0 : difference / largest;
}

/** Sum of products in float64: turns an output into a scalar loss whose output gradient is `weights`. */
export function weightedSum(output: ArrayLike<number>, weights: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < output.length; i++) sum += output[i] * weights[i];
  return sum;
}
