/**
 * cuBLASLt: single products with a choice of algorithm. Names and order of parameters as in NVIDIA's cuBLASLt manual.
 */
import { bindCalls, textOfCode, type Calls } from './calls.js';
import type { LibraryName, NativeLibrary } from './search.js';

export const cublasLtName: LibraryName = {
  title: 'cuBLASLt',
  files: ['libcublasLt.so.13', 'libcublasLt.so.12', 'libcublasLt.so'],
};

const calls = {
  cublasLtCreate: ['host'],
  cublasLtDestroy: ['address'],
  cublasLtMatmulDescCreate: ['host', 'int', 'int'],
  cublasLtMatmulDescSetAttribute: ['address', 'int', 'host', 'size'],
  cublasLtMatmulDescDestroy: ['address'],
  cublasLtMatrixLayoutCreate: ['host', 'int', 'long', 'long', 'long'],
  cublasLtMatrixLayoutDestroy: ['address'],
  cublasLtMatmulPreferenceCreate: ['host'],
  cublasLtMatmulPreferenceSetAttribute: ['address', 'int', 'host', 'size'],
  cublasLtMatmulPreferenceDestroy: ['address'],
  // handle, product, A, B, C, D, preference, wanted, results, found
  cublasLtMatmulAlgoGetHeuristic: [
    'address',
    'address',
    'address',
    'address',
    'address',
    'address',
    'address',
    'int',
    'host',
    'host',
  ],
  // handle, product, alpha, A, its layout, B, its layout, beta, C, its layout, D, its layout, algorithm, workspace,
  // bytes, stream
  cublasLtMatmul: [
    'address',
    'address',
    'host',
    'address',
    'address',
    'address',
    'address',
    'host',
    'address',
    'address',
    'address',
    'address',
    'host',
    'address',
    'size',
    'address',
  ],
} as const;

export type CublasLtLibrary = Calls<typeof calls>;

export const cublasLt = {
  descriptor: { transposeA: 3, transposeB: 4 },
  preference: { workspaceBytes: 1, alignmentA: 5, alignmentB: 6, alignmentC: 7, alignmentD: 8 },
  /**
   * cublasLtMatmulHeuristicResult_t: the algorithm, then workspace (size_t), state (int), waves (float), 4 reserved
   * ints.
   */
  heuristic: { bytes: 96, algorithmBytes: 64, workspaceOffset: 64, stateOffset: 72 },
} as const;

export function bindCublasLt(library: NativeLibrary, rank?: number): CublasLtLibrary {
  return bindCalls(library, calls, { rank, text: textOfCode(library, 'cublasLtGetStatusString') });
}
