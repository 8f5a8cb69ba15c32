/**
 * RMSNorm as Hugging Face computes it: y = weight * x / sqrt(mean(x^2) + epsilon), rows of `width`.
 *
 * Normalising each head by itself (Qwen3's query and key norm) is the same function with rows = tokens * heads and
 * width = headDim.
 */

export interface NormShape {
  readonly rows: number;
  readonly width: number;
  readonly epsilon: number;
}

/** x, y: rows x width (may be the same array); weight: width; inverseRms: rows, saved for the backward. */
export function rmsNormForward({
  shape,
  x,
  weight,
  y,
  inverseRms,
}: {
  readonly shape: NormShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly y: Float32Array;
  readonly inverseRms: Float32Array;
}): void {
  const { rows, width, epsilon } = shape;
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    let squares = 0;
    for (let i = 0; i < width; i++) {
      const value = x[from + i];
      squares += value * value;
    }
    const inverse = 1 / Math.sqrt(squares / width + epsilon);
    inverseRms[row] = inverse;
    for (let i = 0; i < width; i++) y[from + i] = x[from + i] * inverse * weight[i];
  }
}

/**
 * With r = inverseRms: dx = r * weight * dy - x * r^3 / width * sum(dy * weight * x), and dweight += sum over rows of
 * dy * x * r. dx is overwritten, or added to with `addDx` (a residual's gradient lies there); without it dx may be dy.
 */
export function rmsNormBackward({
  shape,
  x,
  weight,
  inverseRms,
  dy,
  dx,
  dweight,
  addDx = false,
}: {
  readonly shape: NormShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly inverseRms: Float32Array;
  readonly dy: Float32Array;
  readonly dx: Float32Array;
  readonly dweight: Float32Array;
  readonly addDx?: boolean;
}): void {
  const { rows, width } = shape;
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    const inverse = inverseRms[row];
    let dot = 0;
    for (let i = 0; i < width; i++) dot += dy[from + i] * weight[i] * x[from + i];
    const pull = (dot * inverse * inverse * inverse) / width;
    for (let i = 0; i < width; i++) {
      const value = x[from + i];
      const upstream = dy[from + i];
      dweight[i] = dweight[i] + upstream * value * inverse;
      const gradient = inverse * weight[i] * upstream - value * pull;
      dx[from + i] = addDx ? dx[from + i] + gradient : gradient;
    }
  }
}
