/** The matrix product alone, for timing the device. */
import type { CatalogueKernels } from '../kernel-call.js';

export const gemmKernels: CatalogueKernels<'gemm'> = {
  gemm: (call) =>
    call.gemm({
      m: call.rows('to'),
      n: call.columns('to'),
      k: call.columns('a'),
      a: call.f32('a'),
      b: call.f32('b'),
      c: call.f32('to'),
    }),
};
