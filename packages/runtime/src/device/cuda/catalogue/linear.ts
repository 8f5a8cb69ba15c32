/** Linear layers as the catalogue's kernels need them, in fp32: weights [outputs, inputs]. */
import type { LinearShape } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import type { CudaKernelCall } from './call.js';

type Products = Pick<CudaKernelCall<never>, 'gemm' | 'stream'>;
const storage = 'f32';

/** y = x W^T. */
export function linear({
  products: { gemm, stream },
  shape,
  x,
  weight,
  y,
}: {
  readonly products: Products;
  readonly shape: LinearShape;
  readonly x: Address;
  readonly weight: Address;
  readonly y: Address;
}): void {
  const { rows: m, inputs: k, outputs: n } = shape;
  gemm.multiply(stream, { m, n, k, a: x, b: weight, d: y, transposeB: true, storage });
}

/** dx = dy W, or dx += dy W. */
export function linearInputGradient(
  { gemm, stream }: Products,
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

/** dW += dy^T x. */
export function linearWeightGradient(
  { gemm, stream }: Products,
  { rows: k, inputs: n, outputs: m }: LinearShape,
  { dy, x, dweight }: { readonly dy: Address; readonly x: Address; readonly dweight: Address },
): void {
  // Without rows there is nothing to add.
  if (k > 0) gemm.multiply(stream, { m, n, k, a: dy, b: x, d: dweight, transposeA: true, beta: 1, storage });
}
