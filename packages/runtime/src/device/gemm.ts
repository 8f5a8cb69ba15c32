/**
 * The one matrix product that everything else uses: C = alpha * op(A) * op(B) + beta * C, row-major float32. op(A) is m
 * x k, op(B) is k x n, C is m x n; with transposeA, A is stored k x m, and likewise B as n x k. Leading dimensions are
 * in elements, and default to the stored number of columns. beta is 0 (C is overwritten, even NaN) or 1. m, n or k of 0
 * is allowed (k = 0 gives beta * C).
 */
export interface GemmCall {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly c: Float32Array;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly lda?: number;
  readonly ldb?: number;
  readonly ldc?: number;
  readonly alpha?: number;
  readonly beta?: 0 | 1;
}

export interface Gemm {
  /** wasm, openblas or reference. */
  readonly name: string;
  (call: GemmCall): void;
}
