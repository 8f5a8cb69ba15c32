/** Linear layers with weights as PyTorch stores them, [outputs, inputs]. Zero rows are allowed. */
import type { Gemm } from '../device/gemm.js';

export interface LinearShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** y = x W^T, or y += x W^T with `add`. x: rows x inputs, y: rows x outputs. */
export function linearForward(
  gemm: Gemm,
  shape: LinearShape,
  x: Float32Array,
  weight: Float32Array,
  y: Float32Array,
  add = false,
): void {
  const { rows, inputs, outputs } = shape;
  gemm({ m: rows, n: outputs, k: inputs, a: x, b: weight, c: y, transposeB: true, beta: add ? 1 : 0 });
}

/** dx = dy W, or dx += dy W with `add` (several projections of one input). */
export function linearInputGrad(
  gemm: Gemm,
  shape: LinearShape,
  dy: Float32Array,
  weight: Float32Array,
  dx: Float32Array,
  add = false,
): void {
  const { rows, inputs, outputs } = shape;
  gemm({ m: rows, n: inputs, k: outputs, a: dy, b: weight, c: dx, beta: add ? 1 : 0 });
}

/** dW += dy^T x. */
export function linearWeightGrad(
  gemm: Gemm,
  shape: LinearShape,
  dy: Float32Array,
  x: Float32Array,
  dweight: Float32Array,
): void {
  const { rows, inputs, outputs } = shape;
  gemm({ m: outputs, n: inputs, k: rows, a: dy, b: x, c: dweight, transposeA: true, beta: 1 });
}

/** y += bias in every row. */
export function addBias({ rows, outputs }: LinearShape, bias: Float32Array, y: Float32Array): void {
  for (let row = 0; row < rows; row++) for (let i = 0; i < outputs; i++) y[row * outputs + i] += bias[i];
}

/** dbias += sum of dy over the rows. */
export function biasGrad({ rows, outputs }: LinearShape, dy: Float32Array, dbias: Float32Array): void {
  for (let row = 0; row < rows; row++) for (let i = 0; i < outputs; i++) dbias[i] += dy[row * outputs + i];
}
