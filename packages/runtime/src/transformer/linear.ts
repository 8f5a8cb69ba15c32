/** Linear layers with weights as PyTorch stores them, [outputs, inputs]. Zero rows are allowed. */
import type { Gemm } from '../device/gemm.js';

export interface LinearShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** y = x W^T, or y += x W^T with `add`. x: rows x inputs, y: rows x outputs. */
export function linearForward({
  gemm,
  shape,
  x,
  weight,
  y,
  add = false,
}: {
  readonly gemm: Gemm;
  readonly shape: LinearShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly y: Float32Array;
  readonly add?: boolean;
}): void {
  const { rows, inputs, outputs } = shape;
  gemm({ m: rows, n: outputs, k: inputs, a: x, b: weight, c: y, transposeB: true, beta: add ? 1 : 0 });
}

/** dx = dy W, or dx += dy W with `add` (several projections of one input). */
export function linearInputGrad({
  gemm,
  shape,
  dy,
  weight,
  dx,
  add = false,
}: {
  readonly gemm: Gemm;
  readonly shape: LinearShape;
  readonly dy: Float32Array;
  readonly weight: Float32Array;
  readonly dx: Float32Array;
  readonly add?: boolean;
}): void {
  const { rows, inputs, outputs } = shape;
  gemm({ m: rows, n: inputs, k: outputs, a: dy, b: weight, c: dx, beta: add ? 1 : 0 });
}

/** dW += dy^T x. */
export function linearWeightGrad({
  gemm,
  shape,
  dy,
  x,
  dweight,
}: {
  readonly gemm: Gemm;
  readonly shape: LinearShape;
  readonly dy: Float32Array;
  readonly x: Float32Array;
  readonly dweight: Float32Array;
}): void {
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
