/** The slow, obvious matrix product: the oracle for the others. Sums in double precision, rounds once. */
import type { Gemm, GemmCall } from '../gemm.js';
import { checkGemm } from './gemm-check.js';

function multiply(call: GemmCall): void {
  const { m, n, k, lda, ldb, ldc, alpha, beta, transposeA, transposeB } = checkGemm(call);
  const { a, b, c } = call;
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let p = 0; p < k; p++) {
        const left = a[transposeA ? p * lda + row : row * lda + p] ?? Number.NaN;
        const right = b[transposeB ? column * ldb + p : p * ldb + column] ?? Number.NaN;
        sum += left * right;
      }
      const at = row * ldc + column;
      const before = beta === 0 ? 0 : (c[at] ?? Number.NaN);
      c[at] = alpha * sum + before;
    }
  }
}

export const referenceGemm: Gemm = Object.defineProperty(multiply, 'name', { value: 'reference' });
