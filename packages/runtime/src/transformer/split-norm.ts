/**
 * RMSNorm over a row of which this rank holds only some columns (OLMoE's query and key norm spans all heads, which
 * tensor parallelism splits). Each pass stands in two halves; the caller sums the per-row numbers over the ranks
 * (all_reduce) between them.
 *
 *   forward:  splitNormSquares -> all_reduce -> splitNormApply
 *   backward: splitNormDot     -> all_reduce -> splitNormBackward
 *
 * When key/value heads are replicated, because there are more TP ranks than such heads, every column is counted
 * `replicas` times in the sum of squares: `share` is 1 / replicas. In the backward each replica holds a partial dy
 * (from its own query heads); the sum over all ranks is then the full dot product, and each replica takes its `share`
 * of it, so that partial dx and dweight add up.
 */

export interface SplitNormShape {
  readonly rows: number;
  /** Columns here. */
  readonly width: number;
  /** Columns of the whole row, over all ranks. */
  readonly fullWidth: number;
  readonly epsilon: number;
  /** 1, or 1 / replicas (above). */
  readonly share: number;
}

/** squares[row] = sum of x^2 over this rank's columns. */
export function splitNormSquares(shape: SplitNormShape, x: Float32Array, squares: Float32Array): void {
  const { rows, width } = shape;
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) {
      const value = x[i];
      sum += value * value;
    }
    squares[row] = sum;
  }
}

/**
 * squares: summed over ranks, not changed. inverseRms: rows, saved for the backward. y may be x; keep x for the
 * backward then elsewhere.
 */
export function splitNormApply({
  shape,
  x,
  weight,
  squares,
  y,
  inverseRms,
}: {
  readonly shape: SplitNormShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly squares: Float32Array;
  readonly y: Float32Array;
  readonly inverseRms: Float32Array;
}): void {
  const { rows, width, fullWidth, epsilon, share } = shape;
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    const inverse = 1 / Math.sqrt((squares[row] * share) / fullWidth + epsilon);
    inverseRms[row] = inverse;
    for (let i = 0; i < width; i++) y[from + i] = x[from + i] * inverse * weight[i];
  }
}

/** dots[row] = sum of dy * weight * x over this rank's columns. */
export function splitNormDot({
  shape,
  x,
  weight,
  dy,
  dots,
}: {
  readonly shape: SplitNormShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly dy: Float32Array;
  readonly dots: Float32Array;
}): void {
  const { rows, width } = shape;
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    let dot = 0;
    for (let i = 0; i < width; i++) dot += dy[from + i] * weight[i] * x[from + i];
    dots[row] = dot;
  }
}

/** dots: summed over ranks. dx is overwritten and may be dy; dweight (this rank's columns) accumulates. */
export function splitNormBackward({
  shape,
  x,
  weight,
  inverseRms,
  dots,
  dy,
  dx,
  dweight,
}: {
  readonly shape: SplitNormShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly inverseRms: Float32Array;
  readonly dots: Float32Array;
  readonly dy: Float32Array;
  readonly dx: Float32Array;
  readonly dweight: Float32Array;
}): void {
  const { rows, width, fullWidth, share } = shape;
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    const inverse = inverseRms[row];
    const pull = (dots[row] * share * inverse * inverse * inverse) / fullWidth;
    for (let i = 0; i < width; i++) {
      const value = x[from + i];
      const upstream = dy[from + i];
      dweight[i] = dweight[i] + upstream * value * inverse;
      dx[from + i] = inverse * weight[i] * upstream - value * pull;
    }
  }
}
