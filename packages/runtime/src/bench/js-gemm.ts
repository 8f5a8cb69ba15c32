/**
 * What plain JavaScript can do: 4 x 4 register blocks over typed arrays, for row-major operands without transposition.
 */
import type { Gemm, GemmCall } from '../device/gemm.js';
import { checkGemm } from '../device/cpu/gemm-check.js';

const side = 4;

/**
 * A baseline for benchmarks: alpha 1, beta 0, sizes in multiples of 4, nothing transposed. Throws RangeError for
 * anything else.
 */
function multiply(call: GemmCall): void {
  const { m, n, k, lda, ldb, ldc, alpha, beta, transposeA, transposeB } = checkGemm(call);
  if (m % side !== 0 || n % side !== 0 || alpha !== 1 || beta !== 0 || transposeA || transposeB) {
    throw new RangeError(
      'the plain JavaScript product takes only m, n in multiples of 4, alpha 1, beta 0, no transposition',
    );
  }
  for (let row = 0; row < m; row += side) {
    for (let column = 0; column < n; column += side) {
      block({
        a: call.a,
        startA: row * lda,
        lda,
        b: call.b,
        startB: column,
        ldb,
        c: call.c,
        startC: row * ldc + column,
        ldc,
        k,
      });
    }
  }
}

/** Operands, where the block begins in them, and from row to row. */
interface Block {
  readonly a: Float32Array;
  readonly startA: number;
  readonly lda: number;
  readonly b: Float32Array;
  readonly startB: number;
  readonly ldb: number;
  readonly c: Float32Array;
  readonly startC: number;
  readonly ldc: number;
  readonly k: number;
}

/** One 4 x 4 block of C; 16 sums in local variables, which V8 keeps in registers as far as it has them. */
function block({ a, startA, lda, b, startB, ldb, c, startC, ldc, k }: Block): void {
  let [s00, s01, s02, s03] = [0, 0, 0, 0];
  let [s10, s11, s12, s13] = [0, 0, 0, 0];
  let [s20, s21, s22, s23] = [0, 0, 0, 0];
  let [s30, s31, s32, s33] = [0, 0, 0, 0];
  const row1 = startA + lda;
  const row2 = row1 + lda;
  const row3 = row2 + lda;
  for (let p = 0, q = startB; p < k; p++, q += ldb) {
    const b0 = b[q];
    const b1 = b[q + 1];
    const b2 = b[q + 2];
    const b3 = b[q + 3];
    const a0 = a[startA + p];
    s00 += a0 * b0;
    s01 += a0 * b1;
    s02 += a0 * b2;
    s03 += a0 * b3;
    const a1 = a[row1 + p];
    s10 += a1 * b0;
    s11 += a1 * b1;
    s12 += a1 * b2;
    s13 += a1 * b3;
    const a2 = a[row2 + p];
    s20 += a2 * b0;
    s21 += a2 * b1;
    s22 += a2 * b2;
    s23 += a2 * b3;
    const a3 = a[row3 + p];
    s30 += a3 * b0;
    s31 += a3 * b1;
    s32 += a3 * b2;
    s33 += a3 * b3;
  }
  c[startC] = s00;
  c[startC + 1] = s01;
  c[startC + 2] = s02;
  c[startC + 3] = s03;
  c[startC + ldc] = s10;
  c[startC + ldc + 1] = s11;
  c[startC + ldc + 2] = s12;
  c[startC + ldc + 3] = s13;
  c[startC + 2 * ldc] = s20;
  c[startC + 2 * ldc + 1] = s21;
  c[startC + 2 * ldc + 2] = s22;
  c[startC + 2 * ldc + 3] = s23;
  c[startC + 3 * ldc] = s30;
  c[startC + 3 * ldc + 1] = s31;
  c[startC + 3 * ldc + 2] = s32;
  c[startC + 3 * ldc + 3] = s33;
}

export const jsGemm: Gemm = Object.defineProperty(multiply, 'name', { value: 'js' });
