/**
 * A gate of its own for every token of a feed-forward (Qwen2-MoE's shared expert): y = s * f(x) with s = sigmoid(x .
 * w), w one row of weights. TP splits f's inner width, so f(x) and with it the gate's gradient are partial sums over
 * TP.
 */
import { exponential } from './exponential.js';

/** Rows multiplied by a factor each. rows: factors.length x width. */
export function scaleRows(factors: Float32Array, rows: Float32Array): void {
  const width = rows.length / factors.length;
  for (let row = 0; row < factors.length; row++)
    for (let i = row * width; i < (row + 1) * width; i++) rows[i] = rows[i] * factors[row];
}

/** scale[t] = sigmoid(x[t] . weight). x: tokens x weight.length. */
export function tokenGate(x: Float32Array, weight: Float32Array, scale: Float32Array): void {
  const width = weight.length;
  for (let token = 0; token < scale.length; token++) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += x[token * width + i] * weight[i];
    scale[token] = 1 / (1 + exponential(-sum));
  }
}

/**
 * dsum[t] = (d . a)[t] * s (1 - s): with d = dy W the gradient of the activated rows a before scaling, d . a is that of
 * s.
 */
export function tokenGateGradient(
  scale: Float32Array,
  d: Float32Array,
  activated: Float32Array,
  dsum: Float32Array,
): void {
  const width = d.length / scale.length;
  for (let token = 0; token < scale.length; token++) {
    let dot = 0;
    for (let i = token * width; i < (token + 1) * width; i++) dot += d[i] * activated[i];
    const s = scale[token];
    dsum[token] = dot * s * (1 - s);
  }
}

export interface TokenGateInput {
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly dsum: Float32Array;
  /** Added to. */
  readonly dx: Float32Array;
  readonly dweight: Float32Array;
}

/** dx += dsum w and dw += dsum x. */
export function tokenGateInputGradient({ x, weight, dsum, dx, dweight }: TokenGateInput): void {
  const width = weight.length;
  for (let token = 0; token < dsum.length; token++)
    for (let i = 0; i < width; i++) {
      const at = token * width + i;
      dx[at] = dx[at] + dsum[token] * weight[i];
      dweight[i] = dweight[i] + dsum[token] * x[at];
    }
}
