/** Copying and filling, in any element type; a product alone, for timing. */
import { toBfloat16, toFloat16 } from '../../half.js';
import { elementBytes, type ElementType, type View } from '../../view.js';
import { cuda, type Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import type { CudaCatalogue } from './call.js';

/** Appends a copy between views of one type and length. */
export function copyView({ libraries }: CudaContext, from: View, to: View, stream: Address): void {
  if (from.type !== to.type || from.length !== to.length)
    throw new RangeError(`${from.length} ${from.type} cannot be copied to ${to.length} ${to.type}`);
  const bytes = from.length * elementBytes[from.type];
  if (bytes > 0) libraries.runtime.cudaMemcpyAsync(to.byteOffset, from.byteOffset, bytes, cuda.copyAnyWay, stream);
}

/** Appends a fill with the nearest value of the view's type. */
export function fillView({ libraries }: CudaContext, view: View, value: number, stream: Address): void {
  if (view.length === 0) return;
  const { driver } = libraries;
  const set = { 1: driver.cuMemsetD8Async, 2: driver.cuMemsetD16Async, 4: driver.cuMemsetD32Async };
  set[elementBytes[view.type] as 1 | 2 | 4](view.byteOffset, bitsOf(view.type, value), view.length, stream);
}

function bitsOf(type: ElementType, value: number): number {
  switch (type) {
    case 'f32':
      return new Uint32Array(Float32Array.of(value).buffer)[0];
    case 'i32':
      return Int32Array.of(value)[0] >>> 0;
    case 'bf16':
      return toBfloat16(value);
    case 'f16':
      return toFloat16(value);
    case 'u8':
      return Uint8Array.of(value)[0];
  }
}

export const memoryKernels: CudaCatalogue<'copy' | 'fill' | 'gemm'> = {
  copy: (call) => copyView(call.context, call.operand('from').view, call.operand('to').view, call.stream),
  fill: (call) => fillView(call.context, call.operand('to').view, call.arguments.value, call.stream),
  gemm: (call) => {
    const [m, n, k] = [call.rows('to'), call.columns('to'), call.columns('a')];
    const operands = { a: call.real('a'), b: call.real('b'), d: call.real('to') };
    call.gemm.multiply(call.stream, { m, n, k, storage: call.storage, ...operands });
  },
};
