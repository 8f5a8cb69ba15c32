/**
 * Kernels of latent attention: down to low ranks, their norms, up to heads. Rows of keys' and values' low rank hold the
 * rank, then the part of keys that turns, which all heads share. The planes of queries, keys and values are those of
 * `attention.ts`; each head of queries and keys holds what has no position, then what turns.
 */
import type { KernelName } from '@monta/core';
import {
  addBias,
  biasGrad,
  linearForward,
  linearInputGrad,
  linearWeightGrad,
  rmsNormBackward,
  rmsNormForward,
  ropeBackward,
  ropeForward,
  type LinearShape,
} from '../../../transformer/index.js';
import type { CatalogueKernels, CpuCallOf } from '../kernel-call.js';
import { angles } from './attention-rotary.js';

type LatentKernel = Extract<KernelName, `latent.${string}`>;
type ExpandCall = CpuCallOf<'latent.expand'> | CpuCallOf<'latent.expand.backward'>;

const sizeOf = (rows: number, weight: { readonly rows: number; readonly columns: number }): LinearShape => ({
  rows,
  inputs: weight.columns,
  outputs: weight.rows,
});

/** Heads of this rank, widths, and where the planes of a region begin. */
function geometry(call: ExpandCall, tokens: number) {
  const { heads, latent, tp, sequence, interleaved } = call.arguments;
  const own = heads.attentionHeads / tp.size;
  const width = latent.nope + latent.rope;
  const plane = tokens * own * width;
  return {
    ...latent,
    tokens,
    heads: own,
    width,
    table: angles(call.arguments, latent.rope),
    /** Of queries, in every head behind what does not turn; and of the keys' part alone. */
    turning: { rows: tokens, heads: own, sequence, stride: width, offset: latent.nope, interleaved },
    shared: { rows: tokens, heads: 1, sequence, interleaved },
    planes: (region: Float32Array) => ({
      query: region.subarray(0, plane),
      key: region.subarray(plane, 2 * plane),
      value: region.subarray(2 * plane),
    }),
  };
}

type Geometry = ReturnType<typeof geometry>;

/** Some columns of rows, copied into a matrix of their own. */
function columnsOf(rows: Float32Array, of: { width: number; first: number; columns: number }, out: Float32Array): void {
  for (let row = 0; row * of.width < rows.length; row++) {
    const at = row * of.width + of.first;
    out.set(rows.subarray(at, at + of.columns), row * of.columns);
  }
}

/** Spreads rows [nope, value] of every head, [T, heads * (nope + value)], into keys and values. */
function spread(g: Geometry, joined: Float32Array, key: Float32Array, value: Float32Array): void {
  const both = g.nope + g.value;
  for (let row = 0; row < g.tokens * g.heads; row++) {
    key.set(joined.subarray(row * both, row * both + g.nope), row * g.width);
    value.set(joined.subarray(row * both + g.nope, (row + 1) * both), row * g.value);
  }
}

/** The other way round, for gradients. */
function join(g: Geometry, key: Float32Array, value: Float32Array, joined: Float32Array): void {
  const both = g.nope + g.value;
  for (let row = 0; row < g.tokens * g.heads; row++) {
    joined.set(key.subarray(row * g.width, row * g.width + g.nope), row * both);
    joined.set(value.subarray(row * g.value, (row + 1) * g.value), row * both + g.nope);
  }
}

/** dkey = the sum over heads of the part that turns, turned back. */
function sharedGradient(g: Geometry, key: Float32Array, out: Float32Array): void {
  out.fill(0);
  for (let row = 0; row < g.tokens * g.heads; row++) {
    const to = Math.floor(row / g.heads) * g.rope;
    for (let i = 0; i < g.rope; i++) out[to + i] = out[to + i] + key[row * g.width + g.nope + i];
  }
  ropeBackward(g.table, out, g.shared);
}

interface LowNorm {
  readonly rows: number;
  readonly width: number;
  readonly epsilon: number;
}

/** Gradient of a norm of low-rank rows x; dx is overwritten. */
function normBackward(
  shape: LowNorm,
  arrays: {
    readonly x: Float32Array;
    readonly weight: Float32Array;
    readonly dy: Float32Array;
    readonly dx: Float32Array;
    readonly dweight: Float32Array;
  },
): void {
  const inverseRms = new Float32Array(shape.rows);
  rmsNormForward({ shape, x: arrays.x, weight: arrays.weight, y: arrays.dx, inverseRms });
  rmsNormBackward({ shape, ...arrays, inverseRms });
}

export const latentKernels: CatalogueKernels<LatentKernel> = {
  'latent.compress': (call) => {
    const x = call.f32('normed');
    const down = (part: 'query' | 'keyValue'): void => {
      const shape = sizeOf(call.rows('normed'), call.operand(`${part}Down`));
      const y = call.f32(`${part}Low`);
      linearForward({ gemm: call.gemm, shape, x, weight: call.f32(`${part}Down`), y });
      if (call.has(`${part}DownBias`)) addBias(shape, call.f32(`${part}DownBias`), y);
    };
    if (call.has('queryDown')) down('query');
    down('keyValue');
  },

  'latent.norm': (call) => {
    const { epsilon } = call.arguments;
    const rows = call.rows('keyValueLow');
    const inverseRms = new Float32Array(rows);
    if (call.has('queryLow')) {
      const shape = { rows, width: call.columns('queryLow'), epsilon };
      const [x, weight, y] = [call.f32('queryLow'), call.f32('queryNorm'), call.f32('queryLowNormed')];
      rmsNormForward({ shape, x, weight, y, inverseRms });
    }
    const shape = { rows, width: call.columns('keyValueLowNormed'), epsilon };
    const y = call.f32('keyValueLowNormed');
    const part = { width: call.columns('keyValueLow'), first: 0, columns: shape.width };
    columnsOf(call.f32('keyValueLow'), part, y);
    rmsNormForward({ shape, x: y, weight: call.f32('keyValueNorm'), y, inverseRms });
  },

  'latent.expand': (call) => {
    const { gemm } = call;
    const tokens = call.rows('queryInput');
    const g = geometry(call, tokens);
    const { query, key, value } = g.planes(call.f32('projected'));
    const ofQueries = sizeOf(tokens, call.operand('queryUp'));
    linearForward({ gemm, shape: ofQueries, x: call.f32('queryInput'), weight: call.f32('queryUp'), y: query });
    ropeForward(g.table, query, g.turning);
    const ofKeys = sizeOf(tokens, call.operand('keyValueUp'));
    call.scratch(tokens * ofKeys.outputs, (joined) => {
      const [x, weight] = [call.f32('keyValueLowNormed'), call.f32('keyValueUp')];
      linearForward({ gemm, shape: ofKeys, x, weight, y: joined });
      spread(g, joined, key, value);
    });
    call.scratch(tokens * g.rope, (shared) => {
      const part = { width: call.columns('keyValueLow'), first: g.keyValueRank, columns: g.rope };
      columnsOf(call.f32('keyValueLow'), part, shared);
      ropeForward(g.table, shared, g.shared);
      for (let row = 0; row < tokens * g.heads; row++) {
        const from = Math.floor(row / g.heads) * g.rope;
        key.set(shared.subarray(from, from + g.rope), row * g.width + g.nope);
      }
    });
  },

  'latent.expand.backward': (call) => {
    const { gemm } = call;
    const tokens = call.rows('queryInput');
    const g = geometry(call, tokens);
    const d = g.planes(call.f32('gradient'));
    call.scratch(d.query.length, (dy) => {
      dy.set(d.query);
      ropeBackward(g.table, dy, g.turning);
      const shape = sizeOf(tokens, call.operand('queryUp'));
      linearInputGrad({ gemm, shape, dy, weight: call.f32('queryUp'), dx: call.f32('queryInputGradient') });
      linearWeightGrad({ gemm, shape, dy, x: call.f32('queryInput'), dweight: call.f32('queryUpGradient') });
    });
    const shape = sizeOf(tokens, call.operand('keyValueUp'));
    call.scratch(tokens * shape.outputs, (dy) => {
      join(g, d.key, d.value, dy);
      const [x, dweight] = [call.f32('keyValueLowNormed'), call.f32('keyValueUpGradient')];
      linearInputGrad({ gemm, shape, dy, weight: call.f32('keyValueUp'), dx: call.f32('keyValueLowNormedGradient') });
      linearWeightGrad({ gemm, shape, dy, x, dweight });
    });
    sharedGradient(g, d.key, call.f32('keyRopeGradient'));
  },

  'latent.norm.backward': (call) => {
    const { epsilon } = call.arguments;
    const rows = call.rows('keyValueLow');
    if (call.has('queryLow'))
      normBackward(
        { rows, width: call.columns('queryLow'), epsilon },
        {
          x: call.f32('queryLow'),
          weight: call.f32('queryNorm'),
          dy: call.f32('queryLowNormedGradient'),
          dx: call.f32('queryLowGradient'),
          dweight: call.f32('queryNormGradient'),
        },
      );
    const [width, rank, rope] = [
      call.columns('keyValueLow'),
      call.columns('keyValueLowNormedGradient'),
      call.columns('keyRopeGradient'),
    ];
    const [out, shared] = [call.f32('keyValueLowGradient'), call.f32('keyRopeGradient')];
    call.scratch(2 * rows * rank, (both) => {
      const [x, dx] = [both.subarray(0, rows * rank), both.subarray(rows * rank)];
      columnsOf(call.f32('keyValueLow'), { width, first: 0, columns: rank }, x);
      normBackward(
        { rows, width: rank, epsilon },
        {
          x,
          weight: call.f32('keyValueNorm'),
          dy: call.f32('keyValueLowNormedGradient'),
          dx,
          dweight: call.f32('keyValueNormGradient'),
        },
      );
      for (let row = 0; row < rows; row++) {
        out.set(dx.subarray(row * rank, (row + 1) * rank), row * width);
        out.set(shared.subarray(row * rope, (row + 1) * rope), row * width + rank);
      }
    });
  },

  'latent.compress.backward': (call) => {
    const { gemm } = call;
    const x = call.f32('normed');
    let add = call.arguments.accumulate;
    const down = (part: 'query' | 'keyValue'): void => {
      const shape = sizeOf(call.rows('normed'), call.operand(`${part}Down`));
      const dy = call.f32(`${part}LowGradient`);
      linearInputGrad({ gemm, shape, dy, weight: call.f32(`${part}Down`), dx: call.f32('normedGradient'), add });
      linearWeightGrad({ gemm, shape, dy, x, dweight: call.f32(`${part}DownGradient`) });
      if (call.has(`${part}DownBiasGradient`)) biasGrad(shape, dy, call.f32(`${part}DownBiasGradient`));
      add = true;
    };
    if (call.has('queryDown')) down('query');
    down('keyValue');
  },
};
