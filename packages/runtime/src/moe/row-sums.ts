/**
 * Rows moved and summed along plans of pairs (`rows/row-moves.ts`): copies of tokens on their way, partial sums on the
 * way back.
 */

/** A fine row, its coarse row and the pick that it serves, for every pair. */
export interface Pairs {
  readonly fine: Int32Array;
  readonly coarse: Int32Array;
  readonly picks: Int32Array;
}

/** fine row = coarse row; other fine rows stay. Rows have `width` elements. */
export function copyRows<T extends Float32Array | Uint8Array>(
  { fine, coarse }: Pick<Pairs, 'fine' | 'coarse'>,
  width: number,
  from: T,
  to: T,
): void {
  for (let i = 0; i < fine.length; i++)
    to.set(from.subarray(coarse[i] * width, (coarse[i] + 1) * width), fine[i] * width);
}

/**
 * coarse row = sum of its fine rows, in the order of the pairs, each times its pick's weight where weights are given; 0
 * where it has none.
 */
export function sumRows(
  { fine, coarse, picks }: Pairs,
  { width, weights }: { readonly width: number; readonly weights: Float32Array | undefined },
  from: Float32Array,
  to: Float32Array,
): void {
  to.fill(0);
  for (let i = 0; i < fine.length; i++) {
    const weight = weights === undefined ? 1 : weights[picks[i]];
    const [start, at] = [fine[i] * width, coarse[i] * width];
    for (let column = 0; column < width; column++) to[at + column] += weight * from[start + column];
  }
}

/** row *= weight of its pick. */
export function weighRows({ fine, picks }: Pairs, width: number, weights: Float32Array, rows: Float32Array): void {
  for (let i = 0; i < fine.length; i++) {
    const weight = weights[picks[i]];
    for (let at = fine[i] * width; at < (fine[i] + 1) * width; at++) rows[at] *= weight;
  }
}

/** products[row] = <a row, b row>. */
export function rowProducts(
  { fine }: Pairs,
  width: number,
  [a, b]: readonly [Float32Array, Float32Array],
  products: Float32Array,
): void {
  for (const row of fine) {
    let product = 0;
    for (let at = row * width; at < (row + 1) * width; at++) product += a[at] * b[at];
    products[row] = product;
  }
}
