/**
 * SwiGLU experts on the canonical row buffer: y = (silu(x Wg^T) * (x Wu^T)) Wd^T, each expert on its own rows.
 *
 * Weights of a rank, for its local experts and its share `ffn` of the intermediate size (sharded over etp):
 *   gateUp [local experts, 2 * ffn, hidden]: gate rows, then up rows;   down [local experts, hidden, ffn]
 * With etp > 1, y and dx are partial sums over the etp ranks.
 *
 * Work is named by *segments*, so that a chunk of every block is computed without touching other rows, in any order and
 * with other chunks in the backward. All functions write only the rows of their segments.
 */
import type { ClampedSwiglu } from '@monta/core';
import type { Gemm } from '../device/gemm.js';
import { exponential } from '../transformer/exponential.js';
import { cutBlocks, type RowBlocks } from './blocks.js';
import { clampedSwiglu, clampedSwigluGrad } from './clamped-swiglu.js';

export interface ExpertShape {
  readonly hidden: number;
  /** Intermediate size here. */
  readonly ffn: number;
  /** Another activation than silu(gate) * up. */
  readonly clamp?: ClampedSwiglu | undefined;
}

/** Triples [local expert, first canonical row, rows]. */
export type Segments = Int32Array;

/**
 * Segments of chunk `chunk` of `of`: counts[expert * sources + source] rows per block, in canonical order. Neighbouring
 * rows of an expert are one segment, so chunk 0 of 1 has one per expert that has rows.
 */
export function chunkSegments({
  counts: blocks,
  localExperts,
  sources,
  chunk,
  of,
}: {
  readonly counts: RowBlocks;
  readonly localExperts: number;
  readonly sources: number;
  readonly chunk: number;
  readonly of: number;
}): Segments {
  const { counts, begin } = cutBlocks(blocks);
  const segments: number[] = [];
  let start = 0;
  for (let expert = 0; expert < localExperts; expert++)
    for (let source = 0; source < sources; source++) {
      const block = expert * sources + source;
      const skipped = begin(block, chunk, of);
      const count = begin(block, chunk + 1, of) - skipped;
      const first = start + skipped;
      start += counts[block];
      if (count === 0) continue;
      const last = segments.length - 3;
      if (last >= 0 && segments[last] === expert && segments[last + 1] + segments[last + 2] === first)
        segments[last + 2] = segments[last + 2] + count;
      else segments.push(expert, first, count);
    }
  return Int32Array.from(segments);
}

function forEachSegment(segments: Segments, visit: (expert: number, row: number, rows: number) => void): void {
  for (let i = 0; i < segments.length; i += 3) visit(segments[i], segments[i + 1], segments[i + 2]);
}

function forEachRow(segments: Segments, visit: (row: number) => void): void {
  forEachSegment(segments, (_expert, first, rows) => {
    for (let row = first; row < first + rows; row++) visit(row);
  });
}

/** gateUpRows [rows, 2 * ffn] = x [rows, hidden] times the experts' gate and up weights; saved for the backward. */
export function expertGateUp({
  gemm,
  expertShape: { hidden, ffn },
  segments,
  x,
  gateUp,
  gateUpRows,
}: {
  readonly gemm: Gemm;
  readonly expertShape: ExpertShape;
  readonly segments: Segments;
  readonly x: Float32Array;
  readonly gateUp: Float32Array;
  readonly gateUpRows: Float32Array;
}): void {
  forEachSegment(segments, (expert, row, rows) => {
    gemm({
      m: rows,
      n: 2 * ffn,
      k: hidden,
      a: x.subarray(row * hidden, (row + rows) * hidden),
      b: gateUp.subarray(expert * 2 * ffn * hidden, (expert + 1) * 2 * ffn * hidden),
      c: gateUpRows.subarray(row * 2 * ffn, (row + rows) * 2 * ffn),
      transposeB: true,
    });
  });
}

/** Adds each expert's bias to its rows; bias: [local experts, width]. */
export function addExpertBias(segments: Segments, bias: Float32Array, width: number, y: Float32Array): void {
  forEachSegment(segments, (expert, first, rows) => {
    for (let row = first; row < first + rows; row++)
      for (let i = 0; i < width; i++) y[row * width + i] = y[row * width + i] + bias[expert * width + i];
  });
}

/** dbias += each expert's sum of dy over its rows. */
export function expertBiasGrad(segments: Segments, dy: Float32Array, width: number, dbias: Float32Array): void {
  forEachSegment(segments, (expert, first, rows) => {
    for (let row = first; row < first + rows; row++)
      for (let i = 0; i < width; i++) dbias[expert * width + i] = dbias[expert * width + i] + dy[row * width + i];
  });
}

/**
 * activated [rows, ffn] = silu(gate) * up, with silu(g) = g / (1 + e^-g). Indexed: a view a row would cost more than
 * the row.
 */
export function expertActivation(
  { ffn, clamp }: ExpertShape,
  segments: Segments,
  gateUpRows: Float32Array,
  activated: Float32Array,
): void {
  if (clamp !== undefined) {
    forEachRow(segments, (row) => clampedSwiglu({ clamp, ffn, row, gateUpRows, activated }));
    return;
  }
  forEachSegment(segments, (_expert, first, rows) => {
    for (let row = first; row < first + rows; row++) {
      const gateRow = row * 2 * ffn;
      const out = row * ffn;
      for (let i = 0; i < ffn; i++) {
        const g = gateUpRows[gateRow + i];
        activated[out + i] = (g / (1 + exponential(-g))) * gateUpRows[gateRow + ffn + i];
      }
    }
  });
}

/** y [rows, hidden] = activated times the experts' down weights: a partial sum over etp. */
export function expertDown({
  gemm,
  expertShape: { hidden, ffn },
  segments,
  activated,
  down,
  y,
}: {
  readonly gemm: Gemm;
  readonly expertShape: ExpertShape;
  readonly segments: Segments;
  readonly activated: Float32Array;
  readonly down: Float32Array;
  readonly y: Float32Array;
}): void {
  forEachSegment(segments, (expert, row, rows) => {
    gemm({
      m: rows,
      n: hidden,
      k: ffn,
      a: activated.subarray(row * ffn, (row + rows) * ffn),
      b: down.subarray(expert * hidden * ffn, (expert + 1) * hidden * ffn),
      c: y.subarray(row * hidden, (row + rows) * hidden),
      transposeB: true,
    });
  });
}

/** dactivated [rows, ffn] from dy [rows, hidden]. */
export function expertDownInputGrad({
  gemm,
  expertShape: { hidden, ffn },
  segments,
  dy,
  down,
  dactivated,
}: {
  readonly gemm: Gemm;
  readonly expertShape: ExpertShape;
  readonly segments: Segments;
  readonly dy: Float32Array;
  readonly down: Float32Array;
  readonly dactivated: Float32Array;
}): void {
  forEachSegment(segments, (expert, row, rows) => {
    gemm({
      m: rows,
      n: ffn,
      k: hidden,
      a: dy.subarray(row * hidden, (row + rows) * hidden),
      b: down.subarray(expert * hidden * ffn, (expert + 1) * hidden * ffn),
      c: dactivated.subarray(row * ffn, (row + rows) * ffn),
    });
  });
}

/** dgateUpRows [rows, 2 * ffn] from dactivated; may be gateUpRows itself when that is not needed again. */
export function expertActivationGrad({
  expertShape: { ffn, clamp },
  segments,
  gateUpRows,
  dactivated,
  dgateUpRows,
}: {
  readonly expertShape: ExpertShape;
  readonly segments: Segments;
  readonly gateUpRows: Float32Array;
  readonly dactivated: Float32Array;
  readonly dgateUpRows: Float32Array;
}): void {
  if (clamp !== undefined) {
    forEachRow(segments, (row) => clampedSwigluGrad({ clamp, ffn, row, gateUpRows, dactivated, dgateUpRows }));
    return;
  }
  forEachSegment(segments, (_expert, first, rows) => {
    for (let row = first; row < first + rows; row++) {
      const gateRow = row * 2 * ffn;
      const upRow = gateRow + ffn;
      const upstreamRow = row * ffn;
      for (let i = 0; i < ffn; i++) {
        const g = gateUpRows[gateRow + i];
        const up = gateUpRows[upRow + i];
        const upstream = dactivated[upstreamRow + i];
        const sigmoid = 1 / (1 + exponential(-g));
        dgateUpRows[gateRow + i] = upstream * up * sigmoid * (1 + g * (1 - sigmoid));
        dgateUpRows[upRow + i] = upstream * g * sigmoid;
      }
    }
  });
}

/** dx [rows, hidden] from dgateUpRows: a partial sum over etp. */
export function expertGateUpInputGrad({
  gemm,
  expertShape: { hidden, ffn },
  segments,
  dgateUpRows,
  gateUp,
  dx,
}: {
  readonly gemm: Gemm;
  readonly expertShape: ExpertShape;
  readonly segments: Segments;
  readonly dgateUpRows: Float32Array;
  readonly gateUp: Float32Array;
  readonly dx: Float32Array;
}): void {
  forEachSegment(segments, (expert, row, rows) => {
    gemm({
      m: rows,
      n: hidden,
      k: 2 * ffn,
      a: dgateUpRows.subarray(row * 2 * ffn, (row + rows) * 2 * ffn),
      b: gateUp.subarray(expert * 2 * ffn * hidden, (expert + 1) * 2 * ffn * hidden),
      c: dx.subarray(row * hidden, (row + rows) * hidden),
    });
  });
}

/**
 * dgateUp += dgateUpRows^T x and ddown += dy^T activated, per expert over the rows of the segments (usually chunk 0 of
 * 1: all rows at once).
 */
export function expertWeightGrad({
  gemm,
  expertShape: { hidden, ffn },
  segments,
  x,
  dgateUpRows,
  activated,
  dy,
  dgateUp,
  ddown,
}: {
  readonly gemm: Gemm;
  readonly expertShape: ExpertShape;
  readonly segments: Segments;
  readonly x: Float32Array;
  readonly dgateUpRows: Float32Array;
  readonly activated: Float32Array;
  readonly dy: Float32Array;
  readonly dgateUp: Float32Array;
  readonly ddown: Float32Array;
}): void {
  forEachSegment(segments, (expert, row, rows) => {
    gemm({
      m: 2 * ffn,
      n: hidden,
      k: rows,
      a: dgateUpRows.subarray(row * 2 * ffn, (row + rows) * 2 * ffn),
      b: x.subarray(row * hidden, (row + rows) * hidden),
      c: dgateUp.subarray(expert * 2 * ffn * hidden, (expert + 1) * 2 * ffn * hidden),
      transposeA: true,
      beta: 1,
    });
    gemm({
      m: hidden,
      n: ffn,
      k: rows,
      a: dy.subarray(row * hidden, (row + rows) * hidden),
      b: activated.subarray(row * ffn, (row + rows) * ffn),
      c: ddown.subarray(expert * hidden * ffn, (expert + 1) * hidden * ffn),
      transposeA: true,
      beta: 1,
    });
  });
}
