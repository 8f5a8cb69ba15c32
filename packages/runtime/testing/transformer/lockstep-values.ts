/** Tensors of the lockstep, and what collectives and slices do with them. */

/** Poisoned: what is not written shows. */
export const floats = (length: number): Float32Array => new Float32Array(length).fill(NaN);

/** sum += part. */
export function addTo(sum: Float32Array, part: ArrayLike<number>): void {
  for (let i = 0; i < sum.length; i++) sum[i] += part[i];
}

/** all_reduce of one array per rank. */
export function total(parts: readonly Float32Array[]): Float32Array {
  const sum = new Float32Array(parts[0].length);
  for (const part of parts) addTo(sum, part);
  return sum;
}

/** Copies of blocks of `count` of every `period` elements, from `from`. */
export function take(values: Float32Array, period: number, from: number, count: number): Float32Array {
  return Float32Array.from(
    { length: (values.length / period) * count },
    (_, i) => values[Math.floor(i / count) * period + from + (i % count)],
  );
}

/** Adds such blocks to where they came from. */
export function give(part: Float32Array, values: Float32Array, period: number, from: number, count: number): void {
  part.forEach((value, i) => {
    values[Math.floor(i / count) * period + from + (i % count)] += value;
  });
}

/** A tensor and its gradient. */
export interface Value {
  readonly v: Float32Array;
  readonly d: Float32Array;
}

/** A weight and its gradient, whole. */
export interface Shared {
  readonly w: Float32Array;
  readonly dw: Float32Array;
}

export const value = (length: number): Value => ({ v: new Float32Array(length), d: new Float32Array(length) });
