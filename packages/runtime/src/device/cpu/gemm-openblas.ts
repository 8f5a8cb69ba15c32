/**
 * The same product by OpenBLAS, called through koffi when the library is installed. Several times faster than the
 * WebAssembly kernels on CPUs with wide vectors; bits depend on the library, the CPU and the sizes.
 */
import koffi from 'koffi';
import type { Gemm, GemmCall } from '../gemm.js';
import { checkGemm } from './gemm-check.js';

const defaultNames = ['libopenblas.so.0', 'libopenblas.so', 'libopenblas.dylib'];

/** Values of CBLAS's enums. */
const rowMajor = 101;
const noTranspose = 111;
const transpose = 112;

let loaded: { readonly gemm: Gemm | undefined } | undefined;

/**
 * OpenBLAS with one thread per caller, or undefined when no library of the names can be loaded. `MONTA_OPENBLAS` names
 * another file.
 */
export function loadOpenblas(): Gemm | undefined {
  loaded ??= { gemm: open() };
  return loaded.gemm;
}

function open(): Gemm | undefined {
  const override = process.env['MONTA_OPENBLAS'];
  for (const name of override === undefined ? defaultNames : [override]) {
    try {
      return bind(koffi.load(name));
    } catch {
      // Not installed under this name, or not an OpenBLAS.
    }
  }
  return undefined;
}

function bind(library: ReturnType<typeof koffi.load>): Gemm {
  const sgemm = library.func(
    'void cblas_sgemm(int order, int transA, int transB, int m, int n, int k, float alpha, const float *a, int ' +
      'lda, const float *b, int ldb, float beta, _Inout_ float *c, int ldc)',
  ) as (...values: (number | Float32Array)[]) => void;
  const setThreads = library.func('void openblas_set_num_threads(int count)') as (count: number) => void;
  setThreads(1);
  const multiply = (call: GemmCall): void => {
    const { m, n, k, lda, ldb, ldc, alpha, beta, transposeA, transposeB } = checkGemm(call);
    if (m === 0 || n === 0) return;
    const [opA, opB] = [transposeA ? transpose : noTranspose, transposeB ? transpose : noTranspose];
    // CBLAS wants leading dimensions of at least 1 even where nothing is read.
    sgemm(rowMajor, opA, opB, m, n, k, alpha, call.a, Math.max(1, lda), call.b, Math.max(1, ldb), beta, call.c, ldc);
  };
  return Object.defineProperty(multiply, 'name', { value: 'openblas' });
}
