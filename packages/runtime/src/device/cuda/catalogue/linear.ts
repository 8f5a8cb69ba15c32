/**
 * Linear layers as the catalogue's kernels need them, in the launch's type with fp32 accumulation: weights [outputs,
 * inputs].
 */
import type { LinearShape } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import type { Storage } from '../kernel-source.js';
import { elementSize } from '../operations/launcher.js';
import { copyRows, sumRows, type Matrix } from '../operations/matrix.js';
import { normScratch } from '../operations/norm.js';
import type { CudaKernelCall } from './call.js';

type Products = Pick<CudaKernelCall<never>, 'gemm' | 'stream' | 'storage'>;

export interface LinearArrays {
  readonly x: Address;
  readonly weight: Address;
  readonly y: Address;
  /** Type of y; the launch's unless given. */
  readonly output?: Storage;
}

/** y = x W^T. */
export function linear(
  { gemm, stream, storage }: Products,
  shape: LinearShape,
  { x, weight, y, output = storage }: LinearArrays,
): void {
  const { rows: m, inputs: k, outputs: n } = shape;
  gemm.multiply(stream, { m, n, k, a: x, b: weight, d: y, transposeB: true, storage, output });
}

/** dx = dy W, or dx += dy W. */
export function linearInputGradient(
  { gemm, stream, storage }: Products,
  { rows: m, inputs: n, outputs: k }: LinearShape,
  {
    dy,
    weight,
    dx,
    add = false,
  }: { readonly dy: Address; readonly weight: Address; readonly dx: Address; readonly add?: boolean },
): void {
  gemm.multiply(stream, { m, n, k, a: dy, b: weight, d: dx, beta: Number(add), storage });
}

/** dW += dy^T x, dW in fp32. */
export function linearWeightGradient(
  { gemm, stream, storage }: Products,
  { rows: k, inputs: n, outputs: m }: LinearShape,
  { dy, x, dweight }: { readonly dy: Address; readonly x: Address; readonly dweight: Address },
): void {
  // Without rows there is nothing to add.
  if (k === 0) return;
  gemm.multiply(stream, { m, n, k, a: dy, b: x, d: dweight, transposeA: true, beta: 1, storage, output: 'f32' });
}

/** Sums of rows into a gradient, as those of a bias are. */
export function sumOfRows(
  call: Pick<CudaKernelCall<never>, 'on' | 'scratch'>,
  matrix: Matrix,
  arrays: { readonly x: Address; readonly factors?: Address; readonly out: Address },
): void {
  sumRows(call.on, matrix, { scratch: call.scratch(normScratch(matrix)), ...arrays });
}

/** Where columns of a matrix lie: of elements of the launch's type, `width` from one row to the next. */
export interface Columns {
  readonly address: Address;
  readonly width: number;
}

/** Copies `columns` of every row. */
export function copyColumns(
  call: Pick<CudaKernelCall<never>, 'context' | 'stream' | 'storage'>,
  { from, to }: { readonly from: Columns; readonly to: Columns },
  { rows, columns }: { readonly rows: number; readonly columns: number },
): void {
  const size = elementSize(call.storage);
  const pitched = ({ address, width }: Columns) => ({ address, pitch: size * width });
  copyRows(
    { runtime: call.context.libraries.runtime, stream: call.stream },
    { from: pitched(from), to: pitched(to) },
    { rows, bytes: size * columns },
  );
}
