/** cuBLAS: batched products. Names and order of parameters as in NVIDIA's cuBLAS manual. */
import { bindCalls, textOfCode, type Calls } from './calls.js';
import type { LibraryName, NativeLibrary } from './search.js';

export const cublasName: LibraryName = {
  title: 'cuBLAS',
  files: ['libcublas.so.13', 'libcublas.so.12', 'libcublas.so'],
  companions: /^libcublasLt\.so\.\d+$/,
};

const calls = {
  cublasCreate_v2: ['host'],
  cublasDestroy_v2: ['address'],
  cublasSetStream_v2: ['address', 'address'],
  cublasSetWorkspace_v2: ['address', 'address', 'size'],
  // handle, op(A), op(B), m, n, k, alpha, A*, type, lda, B*, type, ldb, beta, C*, type, ldc, batch, compute type,
  // algorithm
  cublasGemmBatchedEx: [
    'address',
    'int',
    'int',
    'int',
    'int',
    'int',
    'host',
    'address',
    'int',
    'int',
    'address',
    'int',
    'int',
    'host',
    'address',
    'int',
    'int',
    'int',
    'int',
    'int',
  ],
} as const;

export type CublasLibrary = Calls<typeof calls>;

/** Values of the enums of cuBLAS and of CUDA's data types. */
export const cublas = {
  noTranspose: 0,
  transpose: 1,
  types: { f32: 0, bf16: 14 },
  compute32: 68,
  defaultAlgorithm: -1,
} as const;

export function bindCublas(library: NativeLibrary, rank?: number): CublasLibrary {
  return bindCalls(library, calls, { rank, text: textOfCode(library, 'cublasGetStatusString') });
}
