/**
 * Attention: bf16 by cuDNN where it has a graph, all else by kernels/attention.cu. Queries, keys and values are planar:
 * all queries [T, heads * headDim], then keys, then values [T, kvHeads * width] each.
 */
import type { HeadArguments, KernelName } from '@monta/core';
import { headShare, type HeadShare, type SplitNormShape } from '../../../transformer/index.js';
import { elementSize, nullAddress } from '../operations/launcher.js';
import type { Address } from '../bindings/index.js';
import { addBias, clampValues, maskClamped } from '../operations/matrix.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import {
  cudaSplitNormApply,
  cudaSplitNormBackward,
  cudaSplitNormDot,
  cudaSplitNormSquares,
} from '../operations/split-norm.js';
import { cudaRope } from '../operations/tokens.js';
import { angles } from './angles.js';
import type { CudaCallOf, CudaCatalogue } from './call.js';
import { linear, linearInputGradient, linearWeightGradient, sumOfRows } from './linear.js';

type AttentionKernel = Extract<KernelName, `attention.${string}`>;

const projections = ['query', 'key', 'value'] as const;
type Projection = (typeof projections)[number];
const normed = ['query', 'key'] as const;

/** Heads and columns of this rank, and where the planes of a region begin, in elements. */
interface Geometry {
  readonly tokens: number;
  readonly headDim: number;
  readonly share: HeadShare;
  columns(projection: Projection): number;
  plane(projection: Projection): number;
}

function geometry(tokens: number, heads: HeadArguments, tp: { index: number; size: number }): Geometry {
  const { headDim } = heads;
  const share = headShare(heads.attentionHeads, heads.keyValueHeads, tp.size, tp.index);
  const [queryColumns, keyColumns] = [share.heads * headDim, share.kvHeads * headDim];
  const planes = { query: 0, key: tokens * queryColumns, value: tokens * (queryColumns + keyColumns) };
  return {
    tokens,
    headDim,
    share,
    columns: (projection) => (projection === 'query' ? queryColumns : keyColumns),
    plane: (projection) => planes[projection],
  };
}

/** First element of what belongs to this rank's heads; replicated key/value weights hold them all. */
function ownHeads({ share }: Geometry, projection: Projection, elementsPerHead: number): number {
  return projection === 'query' || share.kvReplicas === 1 ? 0 : share.firstKvHead * elementsPerHead;
}

type RotaryCall =
  CudaCallOf<'attention.rotate'> | CudaCallOf<'attention.dots.backward'> | CudaCallOf<'attention.rotate.backward'>;

/** Rotates queries and keys of a planar region in place, or back. */
function rotate(call: RotaryCall, g: Geometry, region: Address, direction: 1 | -1): void {
  const { sequence, rotaryDim = g.headDim, interleaved } = call.arguments;
  const table = angles(call.context, call.arguments, rotaryDim);
  for (const projection of normed) {
    const heads = projection === 'query' ? g.share.heads : g.share.kvHeads;
    const x = region + elementSize(call.storage) * g.plane(projection);
    const shape = { rows: g.tokens, heads, sequence, half: rotaryDim / 2, stride: g.headDim, interleaved };
    cudaRope(call.on, shape, { x, ...table }, direction);
  }
}

/** A norm over all heads, of which this rank holds some. */
function splitShape(
  g: Geometry,
  { heads, epsilon }: { readonly heads: HeadArguments; readonly epsilon: number },
  projection: 'query' | 'key',
): SplitNormShape {
  const query = projection === 'query';
  return {
    rows: g.tokens,
    width: g.columns(projection),
    fullWidth: (query ? heads.attentionHeads : heads.keyValueHeads) * g.headDim,
    epsilon,
    share: query ? 1 : 1 / g.share.kvReplicas,
  };
}

/** Where a projection's numbers begin in the statistics of both. */
const statistics = (g: Geometry, projection: 'query' | 'key'): number => (projection === 'query' ? 0 : g.tokens);

/** A norm over every head: rows are heads of tokens. */
function headShape(g: Geometry, projection: 'query' | 'key', epsilon: number) {
  const rows = g.tokens * (projection === 'query' ? g.share.heads : g.share.kvHeads);
  return { rows, width: g.headDim, epsilon };
}

/** Queries or keys behind their norm, before clipping and rotation, into `out`. */
function normalise(call: RotaryCall, g: Geometry, projection: 'query' | 'key', out: Address): void {
  const x = call.real('raw', g.plane(projection));
  if (call.has('squares')) {
    cudaSplitNormApply(call.on, splitShape(g, call.arguments, projection), {
      x,
      weight: call.real(`${projection}Norm`, ownHeads(g, projection, g.headDim)),
      squares: call.f32('squares', statistics(g, projection)),
      y: out,
    });
    return;
  }
  const shape = headShape(g, projection, call.arguments.epsilon);
  const weight = call.real(`${projection}Norm`);
  cudaNormForward(call.on, shape, { x, weight, y: out, inverseRms: call.scratch(shape.rows) });
}

/** Takes rotation, and clipping before it, out of the gradient of queries and keys. */
function unrotate(call: RotaryCall, g: Geometry, gradient: Address): void {
  rotate(call, g, gradient, -1);
  const { clip } = call.arguments;
  if (clip === undefined) return;
  for (const projection of normed) {
    const count = g.tokens * g.columns(projection);
    const values = call.scratch(count);
    normalise(call, g, projection, values);
    const own = gradient + elementSize(call.storage) * g.plane(projection);
    maskClamped(call.on, { gradient: own, values, count }, clip, false);
  }
}

/** Where and how the attention kernels launch, and their numbers. */
function core(call: CudaCallOf<'attention.core'> | CudaCallOf<'attention.core.backward'>) {
  const { heads: all, tp, sequence, window, layer } = call.arguments;
  const g = geometry(call.rows('projected'), all, tp);
  const { heads, kvHeads } = g.share;
  const { headDim: width, valueDim: valueWidth = width, scoreScaling = 1 } = all;
  const at = (projection: Projection): Address => call.real('projected', g.plane(projection));
  const seen = window?.layers[layer] === true ? Math.min(window.tokens, sequence) : sequence;
  return {
    g,
    operands: { q: at('query'), k: at('key'), v: at('value') },
    numbers: { sequence, heads, kvHeads, width, valueWidth, window: seen, scale: scoreScaling / Math.sqrt(width) },
    /** What cuDNN's graph takes: causal over the whole sequence, scores over the root of the width. */
    fused:
      call.storage === 'bf16' && seen === sequence && scoreScaling === 1 && !call.has('sinks')
        ? { batch: g.tokens / sequence, sequence, heads, kvHeads, headDim: width, valueDim: valueWidth }
        : undefined,
  };
}

/** attention.cu's `warpsPerBlock`. */
const warpsPerBlock = 4;
const sinkThreads = 256;
const warps = (count: number) => ({ blocks: Math.ceil(count / warpsPerBlock), threads: 32 * warpsPerBlock });

export const attentionKernels: CudaCatalogue<AttentionKernel> = {
  'attention.project': (call) => {
    const { heads, tp, clip } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    for (const projection of projections) {
      const region = projection !== 'value' && call.has('raw') ? 'raw' : 'projected';
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      linear(call, size, {
        x: call.real('normed'),
        weight: call.real(`${projection}Weight`, ownHeads(g, projection, g.headDim * inputs)),
        y: call.real(region, g.plane(projection)),
      });
      const bias = `${projection}Bias` as const;
      if (!call.has(bias)) continue;
      const own = call.real(bias, ownHeads(g, projection, g.headDim));
      addBias(call.on, { rows: tokens, width: size.outputs }, { y: call.real(region, g.plane(projection)), bias: own });
    }
    if (clip !== undefined)
      clampValues(call.on, call.real('projected', g.plane('value')), tokens * g.columns('value'), clip);
  },
  'attention.squares': (call) => {
    const g = geometry(call.rows('raw'), call.arguments.heads, call.arguments.tp);
    for (const projection of normed) {
      const x = call.real('raw', g.plane(projection));
      const squares = call.f32('squares', statistics(g, projection));
      cudaSplitNormSquares(call.on, splitShape(g, call.arguments, projection), x, squares);
    }
  },
  /** Norm (where the model has one), clipping, rotation. */
  'attention.rotate': (call) => {
    const { clip } = call.arguments;
    const g = geometry(call.rows('projected'), call.arguments.heads, call.arguments.tp);
    if (call.has('raw'))
      for (const projection of normed) {
        const y = call.real('projected', g.plane(projection));
        normalise(call, g, projection, y);
        if (clip !== undefined) clampValues(call.on, y, g.tokens * g.columns(projection), clip);
      }
    rotate(call, g, call.real('projected'), 1);
  },
  'attention.core': (call) => {
    const { g, operands, numbers, fused } = core(call);
    if (fused !== undefined) {
      const buffers = { o: call.real('context'), statistics: call.f32('logSumExp'), ...operands };
      call.attention.forward(call.stream, fused, buffers);
      return;
    }
    const queries = g.tokens * g.share.heads;
    const sinks = call.has('sinks') ? call.real('sinks') : nullAddress;
    const to = { o: call.real('context'), logSum: call.f32('logSumExp') };
    call.on.launch('attention', 'attention_forward', warps(queries), {
      ...operands,
      ...numbers,
      queries,
      sinks,
      ...to,
    });
  },
  'attention.output': (call) => {
    const size = { rows: call.rows('context'), inputs: call.columns('context'), outputs: call.columns('output') };
    const y = call.real('output');
    linear(call, size, { x: call.real('context'), weight: call.real('weight'), y });
    if (call.has('bias') && call.arguments.tp.index === 0)
      addBias(call.on, { rows: size.rows, width: size.outputs }, { y, bias: call.real('bias') });
  },
  'attention.output.backward': (call) => {
    const [rows, inputs] = [call.rows('context'), call.columns('context')];
    const size = { rows, inputs, outputs: call.columns('outputGradient') };
    const dy = call.real('outputGradient');
    linearInputGradient(call, size, { dy, weight: call.real('weight'), dx: call.real('contextGradient') });
    linearWeightGradient(call, size, { dy, x: call.real('context'), dweight: call.f32('weightGradient') });
    if (call.has('biasGradient'))
      sumOfRows(call, { rows, width: size.outputs }, { x: dy, out: call.f32('biasGradient') });
  },
  'attention.core.backward': (call) => {
    const { clip } = call.arguments;
    const { g, operands, numbers, fused } = core(call);
    const [dq, dk, dv] = projections.map((projection) => call.real('gradient', g.plane(projection)));
    if (fused !== undefined) {
      const buffers = { o: call.real('context'), statistics: call.f32('logSumExp'), ...operands };
      const gradients = { dO: call.real('contextGradient'), dQ: dq, dK: dk, dV: dv };
      call.attention.backward(call.stream, fused, buffers, gradients);
    } else {
      const [queries, keys] = [g.tokens * g.share.heads, g.tokens * g.share.kvHeads];
      const [dots, logSum] = [call.scratch(queries), call.f32('logSumExp')];
      const shared = { ...operands, ...numbers, dO: call.real('contextGradient'), logSum, dots };
      const ofQueries = { ...shared, queries, o: call.real('context'), dq };
      call.on.launch('attention', 'attention_query_gradient', warps(queries), ofQueries);
      call.on.launch('attention', 'attention_key_gradient', warps(keys), { ...shared, keys, dk, dv });
      const { sequence, heads } = numbers;
      if (call.has('sinksGradient')) {
        const ofSinks = { sinks: call.real('sinks'), dsinks: call.f32('sinksGradient') };
        const grid = { blocks: heads, threads: sinkThreads };
        call.on.launch('attention', 'sinks_gradient', grid, {
          ...ofSinks,
          logSum,
          dots,
          tokens: g.tokens,
          sequence,
          heads,
        });
      }
    }
    if (clip === undefined) return;
    // Values after clipping: one at the limit counts as clipped.
    const count = g.tokens * g.columns('value');
    maskClamped(call.on, { gradient: dv, values: operands.v, count }, clip, true);
  },
  /** Through rotation and clipping; then each row's dot product, which the norm over all heads needs from all ranks. */
  'attention.dots.backward': (call) => {
    const g = geometry(call.rows('gradient'), call.arguments.heads, call.arguments.tp);
    unrotate(call, g, call.real('gradient'));
    for (const projection of normed)
      cudaSplitNormDot(call.on, splitShape(g, call.arguments, projection), {
        x: call.real('raw', g.plane(projection)),
        weight: call.real(`${projection}Norm`, ownHeads(g, projection, g.headDim)),
        dy: call.real('gradient', g.plane(projection)),
        dots: call.f32('dots', statistics(g, projection)),
      });
  },
  'attention.rotate.backward': (call) => {
    const g = geometry(call.rows('gradient'), call.arguments.heads, call.arguments.tp);
    if (call.has('squares')) {
      for (const projection of normed) {
        const own = ownHeads(g, projection, g.headDim);
        const shape = splitShape(g, call.arguments, projection);
        cudaSplitNormBackward(call.on, shape, {
          x: call.real('raw', g.plane(projection)),
          weight: call.real(`${projection}Norm`, own),
          squares: call.f32('squares', statistics(g, projection)),
          dots: call.f32('dots', statistics(g, projection)),
          dy: call.real('gradient', g.plane(projection)),
          dweight: call.f32(`${projection}NormGradient`, own),
          scratch: call.scratch(normScratch(shape)),
        });
      }
      return;
    }
    unrotate(call, g, call.real('gradient'));
    if (!call.has('raw')) return;
    for (const projection of normed) {
      const shape = headShape(g, projection, call.arguments.epsilon);
      const elements = shape.rows * shape.width;
      const x = call.real('raw', g.plane(projection));
      const weight = call.real(`${projection}Norm`);
      const inverseRms = call.scratch(shape.rows);
      cudaNormForward(call.on, shape, { x, weight, y: call.scratch(elements), inverseRms });
      const dy = call.real('gradient', g.plane(projection));
      const scratch = call.scratch(normScratch(shape));
      const dweight = call.f32(`${projection}NormGradient`);
      cudaNormBackward(call.on, shape, { x, weight, inverseRms, dy, dx: dy, dweight, scratch });
    }
  },
  'attention.project.backward': (call) => {
    const { heads, tp } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    for (const projection of projections) {
      const own = ownHeads(g, projection, g.headDim * inputs);
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      const dy = call.real('gradient', g.plane(projection));
      const add = projection !== 'query';
      const weight = call.real(`${projection}Weight`, own);
      linearInputGradient(call, size, { dy, weight, dx: call.real('normedGradient'), add });
      const dweight = call.f32(`${projection}WeightGradient`, own);
      linearWeightGradient(call, size, { dy, x: call.real('normed'), dweight });
      const bias = `${projection}BiasGradient` as const;
      if (!call.has(bias)) continue;
      const out = call.f32(bias, ownHeads(g, projection, g.headDim));
      sumOfRows(call, { rows: tokens, width: size.outputs }, { x: dy, out });
    }
  },
};
