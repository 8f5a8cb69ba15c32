/**
 * Causal grouped-query attention on rows [batch, sequence]. Scores of a tile of queries are made by a matrix product
 * per head; softmax is float32 with float64 sums. Of the probabilities only the logarithm of each row's sum is kept;
 * the backward recomputes them (as FlashAttention does, Dao et al., arXiv 2205.14135), so memory stays linear in the
 * sequence.
 */
import type { Gemm } from '../device/gemm.js';
import { exponential } from './exponential.js';

export interface AttentionShape {
  readonly batch: number;
  readonly sequence: number;
  /** Query heads here; query head j reads key/value head floor(j * kvHeads / heads). */
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of a query and of a key. */
  readonly headDim: number;
  /** Width of a value and of an output; absent: `headDim`. */
  readonly valueDim?: number;
  /** Factor on the scores beside 1 / sqrt(headDim). */
  readonly scoreScaling?: number;
  /** Sliding window: a query sees itself and the `window` - 1 tokens before it. Absent: all before it. */
  readonly window?: number;
  /** One logit a head that takes part in every softmax and has no value. */
  readonly sinks?: Float32Array;
}

/**
 * Queries of one tile. A tile reads only the keys up to its last query, so small tiles skip nearly half of the square.
 */
const tileQueries = 64;

/** Float32 elements of scratch that forward and backward need. */
export function attentionScratch(shape: AttentionShape): number {
  return 2 * Math.min(tileQueries, shape.sequence) * shape.sequence;
}

interface Tile {
  readonly batchIndex: number;
  readonly head: number;
  readonly kvHead: number;
  /** First query, number of queries; first key, number of keys; all within the sequence. */
  readonly query: number;
  readonly queries: number;
  readonly key: number;
  readonly keys: number;
}

function forEachTile(shape: AttentionShape, visit: (tile: Tile) => void): void {
  const { batch, sequence, heads, kvHeads, window = Infinity } = shape;
  for (let batchIndex = 0; batchIndex < batch; batchIndex++)
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor((head * kvHeads) / heads);
      for (let query = 0; query < sequence; query += tileQueries) {
        const queries = Math.min(tileQueries, sequence - query);
        const key = Math.max(0, query - window + 1);
        visit({ batchIndex, head, kvHead, query, queries, key, keys: query + queries - key });
      }
    }
}

function scores({
  gemm,
  shape,
  tile,
  q,
  k,
  out,
}: {
  readonly gemm: Gemm;
  readonly shape: AttentionShape;
  readonly tile: Tile;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly out: Float32Array;
}): void {
  const { sequence, heads, kvHeads, headDim } = shape;
  gemm({
    m: tile.queries,
    n: tile.keys,
    k: headDim,
    a: q.subarray(((tile.batchIndex * sequence + tile.query) * heads + tile.head) * headDim),
    b: k.subarray(((tile.batchIndex * sequence + tile.key) * kvHeads + tile.kvHead) * headDim),
    c: out,
    transposeB: true,
    lda: heads * headDim,
    ldb: kvHeads * headDim,
    alpha: scoreScale(shape),
  });
}

const scoreScale = ({ headDim, scoreScaling = 1 }: AttentionShape): number => scoreScaling / Math.sqrt(headDim);

/** Keys that row `row` of a tile sees, as a range within the tile's keys. */
function visible(shape: AttentionShape, tile: Tile, row: number): [number, number] {
  const query = tile.query + row;
  return [Math.max(0, query - (shape.window ?? Infinity) + 1 - tile.key), query + 1 - tile.key];
}

/**
 * q: tokens x heads x headDim, k: tokens x kvHeads x headDim (rope applied), v: tokens x kvHeads x valueDim, out:
 * tokens x heads x valueDim. logSum [batch, heads, sequence] is saved for the backward, as are q, k, v and out.
 * scratch: `attentionScratch` elements.
 */
export function attentionForward({
  gemm,
  shape,
  q,
  k,
  v,
  out,
  logSum,
  scratch,
}: {
  readonly gemm: Gemm;
  readonly shape: AttentionShape;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly out: Float32Array;
  readonly logSum: Float32Array;
  readonly scratch: Float32Array;
}): void {
  const { sequence, heads, kvHeads, headDim, valueDim = headDim } = shape;
  forEachTile(shape, (tile) => {
    const { keys } = tile;
    scores({ gemm, shape, tile, q, k, out: scratch });
    for (let row = 0; row < tile.queries; row++) {
      const from = row * keys;
      const [first, end] = visible(shape, tile, row);
      const sink = shape.sinks?.[tile.head] ?? -Infinity;
      let largest = sink;
      for (let i = first; i < end; i++) largest = Math.max(largest, scratch[from + i]);
      let sum = shape.sinks === undefined ? 0 : exponential(sink - largest);
      for (let i = first; i < end; i++) {
        const value = exponential(scratch[from + i] - largest);
        scratch[from + i] = value;
        sum += value;
      }
      const inverse = 1 / sum;
      scratch.fill(0, from, from + first);
      for (let i = first; i < end; i++) scratch[from + i] = scratch[from + i] * inverse;
      scratch.fill(0, from + end, from + keys);
      logSum[(tile.batchIndex * heads + tile.head) * sequence + tile.query + row] = largest + Math.log(sum);
    }
    gemm({
      m: tile.queries,
      n: valueDim,
      k: keys,
      a: scratch,
      b: v.subarray(((tile.batchIndex * sequence + tile.key) * kvHeads + tile.kvHead) * valueDim),
      c: out.subarray(((tile.batchIndex * sequence + tile.query) * heads + tile.head) * valueDim),
      ldb: kvHeads * valueDim,
      ldc: heads * valueDim,
    });
  });
}

/**
 * dsinks += gradient of the sinks' logits: minus their probability times the row's dot product of out and dout, summed
 * over the rows. `dout` and `out`: tokens x heads x valueDim, logSum as the forward left it.
 */
export function sinksGradient(
  { batch, sequence, heads, headDim, valueDim = headDim, sinks }: AttentionShape,
  saved: { readonly out: Float32Array; readonly dout: Float32Array; readonly logSum: Float32Array },
  dsinks: Float32Array,
): void {
  if (sinks === undefined) return;
  for (let head = 0; head < heads; head++) {
    let sum = 0;
    for (let row = 0; row < batch * sequence; row++) {
      const at = (row * heads + head) * valueDim;
      let dot = 0;
      for (let i = at; i < at + valueDim; i++) dot += saved.out[i] * saved.dout[i];
      const log = saved.logSum[(Math.floor(row / sequence) * heads + head) * sequence + (row % sequence)];
      sum += exponential(sinks[head] - log) * dot;
    }
    dsinks[head] = dsinks[head] - sum;
  }
}

/**
 * From a tile's scores to probabilities, and from gradients of these to gradients of scores, both in place. `out` and
 * `dout` begin at the tile's first row.
 */
function scoreGradients({
  shape,
  tile,
  out,
  dout,
  logSum,
  probability,
  gradient,
}: {
  readonly shape: AttentionShape;
  readonly tile: Tile;
  readonly out: Float32Array;
  readonly dout: Float32Array;
  readonly logSum: Float32Array;
  readonly probability: Float32Array;
  readonly gradient: Float32Array;
}): void {
  const { sequence, heads, headDim, valueDim = headDim } = shape;
  const { keys, queries } = tile;
  const stride = heads * valueDim;
  const scale = scoreScale(shape);
  for (let row = 0; row < queries; row++) {
    const from = row * keys;
    const [first, end] = visible(shape, tile, row);
    const log = logSum[(tile.batchIndex * heads + tile.head) * sequence + tile.query + row];
    // sum over keys of P * dP equals the dot product of out and dout of this row
    let dot = 0;
    for (let i = row * stride; i < row * stride + valueDim; i++) dot += out[i] * dout[i];
    probability.fill(0, from, from + first);
    gradient.fill(0, from, from + first);
    for (let i = from + first; i < from + end; i++) {
      const p = exponential(probability[i] - log);
      probability[i] = p;
      gradient[i] = p * (gradient[i] - dot) * scale;
    }
    probability.fill(0, from + end, from + keys);
    gradient.fill(0, from + end, from + keys);
  }
}

/** What the backward of attention reads, and where it writes. */
export interface AttentionBackward {
  readonly gemm: Gemm;
  readonly shape: AttentionShape;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly out: Float32Array;
  readonly logSum: Float32Array;
  readonly dout: Float32Array;
  readonly dq: Float32Array;
  readonly dk: Float32Array;
  readonly dv: Float32Array;
  readonly scratch: Float32Array;
}

/** dq, dk and dv are overwritten; dk and dv sum over the query heads of their group. */
export function attentionBackward(of: AttentionBackward): void {
  const { shape, dk, dv, scratch } = of;
  const { batch, sequence, kvHeads, headDim, valueDim = headDim } = shape;
  const keyRows = batch * sequence * kvHeads;
  dk.fill(0, 0, keyRows * headDim);
  dv.fill(0, 0, keyRows * valueDim);
  const half = scratch.length >> 1;
  const squares = { probability: scratch.subarray(0, half), gradient: scratch.subarray(half) };
  forEachTile(shape, (tile) => {
    fillSquares(of, tile, squares);
    addTileGradients(of, tile, squares);
  });
}

/** A tile's probabilities and the gradients of its scores, [query][key]. */
interface Squares {
  readonly probability: Float32Array;
  readonly gradient: Float32Array;
}

/** Where a tile's rows begin in queries, outputs, keys and values. */
function tileStarts({ sequence, heads, kvHeads, headDim, valueDim = headDim }: AttentionShape, tile: Tile) {
  const queryRow = (tile.batchIndex * sequence + tile.query) * heads + tile.head;
  const keyRow = (tile.batchIndex * sequence + tile.key) * kvHeads + tile.kvHead;
  return {
    query: queryRow * headDim,
    out: queryRow * valueDim,
    key: keyRow * headDim,
    value: keyRow * valueDim,
  };
}

function fillSquares(
  { gemm, shape, q, k, v, out, logSum, dout }: AttentionBackward,
  tile: Tile,
  squares: Squares,
): void {
  const { heads, kvHeads, headDim, valueDim = headDim } = shape;
  const { probability, gradient } = squares;
  const starts = tileStarts(shape, tile);
  scores({ gemm, shape, tile, q, k, out: probability });
  // dP = dO V^T
  gemm({
    m: tile.queries,
    n: tile.keys,
    k: valueDim,
    a: dout.subarray(starts.out),
    b: v.subarray(starts.value),
    c: gradient,
    transposeB: true,
    lda: heads * valueDim,
    ldb: kvHeads * valueDim,
  });
  scoreGradients({
    shape,
    tile,
    out: out.subarray(starts.out),
    dout: dout.subarray(starts.out),
    logSum,
    probability,
    gradient,
  });
}

function addTileGradients(
  { gemm, shape, q, k, dout, dq, dk, dv }: AttentionBackward,
  tile: Tile,
  { probability, gradient }: Squares,
): void {
  const { heads, kvHeads, headDim, valueDim = headDim } = shape;
  const { keys, queries } = tile;
  const starts = tileStarts(shape, tile);
  gemm({
    m: queries,
    n: headDim,
    k: keys,
    a: gradient,
    b: k.subarray(starts.key),
    c: dq.subarray(starts.query),
    ldb: kvHeads * headDim,
    ldc: heads * headDim,
  });
  const overQueries = { m: keys, k: queries, transposeA: true, lda: keys, beta: 1 } as const;
  gemm({
    ...overQueries,
    n: headDim,
    a: gradient,
    b: q.subarray(starts.query),
    c: dk.subarray(starts.key),
    ldb: heads * headDim,
    ldc: kvHeads * headDim,
  });
  gemm({
    ...overQueries,
    n: valueDim,
    a: probability,
    b: dout.subarray(starts.out),
    c: dv.subarray(starts.value),
    ldb: heads * valueDim,
    ldc: kvHeads * valueDim,
  });
}
