/**
 * The canonical order of dispatched rows: by expert, and within an expert by token. Built on the rank that owns the
 * tokens; since token slices are ascending ranges, it is also the order (expert, slice, token).
 */
import { countingSort } from '@monta/core/units';
import type { Moves } from './blocks.js';

/** Orders of one token range. A *pick* is t * k + j, the j-th choice of token t. */
export interface Permutation {
  /** Rows in all: kept picks. */
  readonly rows: number;
  /** Rows of each expert. */
  readonly counts: Int32Array;
  /** rows: the token of each row, and its pick. */
  readonly rowToken: Int32Array;
  readonly rowPick: Int32Array;
  /** tokens x k: the row of each pick, -1 where dropped. */
  readonly pickRow: Int32Array;
}

/** ids: tokens x picks, below 0 where dropped; kept as from `dropByProbability`, or undefined when it drops nothing. */
export function buildPermutation({
  ids,
  kept,
  tokens,
  picks,
  experts,
}: {
  readonly ids: Int32Array;
  readonly kept: Uint8Array | undefined;
  readonly tokens: number;
  readonly picks: number;
  readonly experts: number;
}): Permutation {
  const { starts, order: rowPick } = countingSort(ids.subarray(0, tokens * picks), experts, kept);
  const rows = rowPick.length;
  const counts = Int32Array.from({ length: experts }, (_, expert) => starts[expert + 1] - starts[expert]);
  const rowToken = new Int32Array(rows);
  const pickRow = new Int32Array(tokens * picks).fill(-1);
  for (let row = 0; row < rows; row++) {
    rowToken[row] = Math.floor(rowPick[row] / picks);
    pickRow[rowPick[row]] = row;
  }
  return { rows, counts, rowToken, rowPick, pickRow };
}

/**
 * packed row = token row, for the canonical rows that `moves` names (see `chunkMoves`): permutation and packing in one
 * pass.
 */
export function packTokens({
  permutation: { rowToken },
  moves,
  width,
  tokens,
  packed,
}: {
  readonly permutation: Permutation;
  readonly moves: Moves;
  readonly width: number;
  readonly tokens: Float32Array;
  readonly packed: Float32Array;
}): void {
  for (let move = 0; move < moves.length; move += 3) {
    const canonical = moves[move];
    const to = moves[move + 1];
    const count = moves[move + 2];
    for (let i = 0; i < count; i++) {
      const from = rowToken[canonical + i] * width;
      packed.set(tokens.subarray(from, from + width), (to + i) * width);
    }
  }
}

/**
 * y[t] = sum over its kept picks of weight * row, in pick order; y[t] += with `add`. rows: canonical order, width
 * columns. With weights undefined every weight is 1: the backward of the dispatch (dx of a token is the sum of its
 * rows' gradients).
 */
export function combineRows({
  permutation: { pickRow },
  tokens,
  picks,
  width,
  rows,
  weights,
  y,
  add = false,
}: {
  readonly permutation: Pick<Permutation, 'pickRow'>;
  readonly tokens: number;
  readonly picks: number;
  readonly width: number;
  readonly rows: Float32Array;
  readonly weights: Float32Array | undefined;
  readonly y: Float32Array;
  readonly add?: boolean;
}): void {
  for (let token = 0; token < tokens; token++) {
    const to = token * width;
    if (!add) y.fill(0, to, to + width);
    for (let pick = token * picks; pick < (token + 1) * picks; pick++) {
      const row = pickRow[pick];
      if (row < 0) continue;
      const weight = weights === undefined ? 1 : weights[pick];
      const from = row * width;
      for (let i = 0; i < width; i++) y[to + i] = y[to + i] + weight * rows[from + i];
    }
  }
}

/**
 * Backward of `combineRows`, rows: packed drow = weight * dy of its token, for the canonical rows that `moves` names.
 */
export function combineRowGrad({
  permutation: { rowToken, rowPick },
  moves,
  width,
  weights,
  dy,
  packed,
}: {
  readonly permutation: Permutation;
  readonly moves: Moves;
  readonly width: number;
  readonly weights: Float32Array;
  readonly dy: Float32Array;
  readonly packed: Float32Array;
}): void {
  for (let move = 0; move < moves.length; move += 3) {
    const canonical = moves[move];
    const start = moves[move + 1];
    const count = moves[move + 2];
    for (let i = 0; i < count; i++) {
      const weight = weights[rowPick[canonical + i]];
      const from = rowToken[canonical + i] * width;
      const to = (start + i) * width;
      for (let column = 0; column < width; column++) packed[to + column] = weight * dy[from + column];
    }
  }
}

/**
 * Backward of `combineRows`, weights: dweights[pick] = <row, dy of its token>, 0 for dropped picks. rows: canonical
 * order.
 */
export function combineWeightGrad({
  permutation: { pickRow },
  tokens,
  picks,
  width,
  rows,
  dy,
  dweights,
}: {
  readonly permutation: Pick<Permutation, 'pickRow'>;
  readonly tokens: number;
  readonly picks: number;
  readonly width: number;
  readonly rows: Float32Array;
  readonly dy: Float32Array;
  readonly dweights: Float32Array;
}): void {
  for (let pick = 0; pick < tokens * picks; pick++) {
    const row = pickRow[pick];
    let dot = 0;
    if (row >= 0) {
      const from = row * width;
      const token = Math.floor(pick / picks) * width;
      for (let i = 0; i < width; i++) dot += rows[from + i] * dy[token + i];
    }
    dweights[pick] = dot;
  }
}
