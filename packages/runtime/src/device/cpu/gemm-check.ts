/** Fills in a GEMM call's defaults and refuses calls that would read or write out of bounds. */
import type { GemmCall } from '../gemm.js';

export interface CheckedGemm {
  readonly m: number;
  readonly n: number;
  /** 0 also when alpha is 0: then A and B are not read, as in BLAS. */
  readonly k: number;
  readonly lda: number;
  readonly ldb: number;
  readonly ldc: number;
  readonly alpha: number;
  readonly beta: 0 | 1;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Throws RangeError when a size is negative or fractional, a leading dimension too small, or an array too short. */
export function checkGemm(call: GemmCall): CheckedGemm {
  const { m, n, k, transposeA = false, transposeB = false, alpha = 1, beta = 0 } = call;
  if (!(isCount(m) && isCount(n) && isCount(k))) {
    throw new RangeError(`gemm: m, n and k must be whole numbers of at least 0, not ${m}, ${n}, ${k}`);
  }
  if (beta !== 0 && beta !== 1) throw new RangeError(`gemm: beta must be 0 or 1, not ${String(beta)}`);
  const columnsA = transposeA ? m : k;
  const columnsB = transposeB ? k : n;
  const { lda = columnsA, ldb = columnsB, ldc = n } = call;
  if (m > 0 && n > 0) {
    if (k > 0) {
      checkOperand({ name: 'A', length: call.a.length, rows: transposeA ? k : m, columns: columnsA, leading: lda });
      checkOperand({ name: 'B', length: call.b.length, rows: transposeB ? n : k, columns: columnsB, leading: ldb });
    }
    checkOperand({ name: 'C', length: call.c.length, rows: m, columns: n, leading: ldc });
  }
  return { m, n, k: alpha === 0 ? 0 : k, lda, ldb, ldc, alpha, beta, transposeA, transposeB };
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0;
}

function checkOperand({
  name,
  length,
  rows,
  columns,
  leading,
}: {
  readonly name: string;
  readonly length: number;
  readonly rows: number;
  readonly columns: number;
  readonly leading: number;
}): void {
  if (!Number.isInteger(leading) || leading < columns) {
    throw new RangeError(`gemm: leading dimension of ${name} is ${leading}, but its rows have ${columns} elements`);
  }
  const needed = (rows - 1) * leading + columns;
  if (length < needed) {
    throw new RangeError(
      `gemm: ${name} has ${length} elements, but ${rows} rows of ${columns} at leading dimension ${leading} need ` +
        `${needed}`,
    );
  }
}
