/**
 * Kernels of the attention layer. Operands of queries, keys and values are planar: all queries [T, heads * headDim],
 * then keys, then values [T, kvHeads * headDim] each.
 */
import type { HeadArguments, KernelName } from '@monta/core';
import {
  addBias,
  attentionBackward,
  attentionForward,
  attentionScratch,
  biasGrad,
  clampBackward,
  clampForward,
  headShare,
  linearForward,
  linearInputGrad,
  linearWeightGrad,
  rmsNormBackward,
  rmsNormForward,
  ropeBackward,
  ropeForward,
  ropeTable,
  sinksGradient,
  splitNormApply,
  splitNormBackward,
  splitNormDot,
  splitNormSquares,
  type AttentionShape,
  type HeadShare,
  type RopeRows,
  type RopeTable,
  type SplitNormShape,
} from '../../../transformer/index.js';
import type { CatalogueKernels, CpuCallOf } from '../kernel-call.js';

type AttentionKernel = Extract<KernelName, `attention.${string}`>;
/** Kernels around rotation and query/key norm. */
type RotaryKernel = 'attention.rotate' | 'attention.dots.backward' | 'attention.rotate.backward';

interface Planes {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

type Projection = 'query' | 'key' | 'value';
const projections = ['query', 'key', 'value'] as const;
const normed = ['query', 'key'] as const;

/** Heads and columns of this rank. */
interface Geometry {
  readonly tokens: number;
  readonly headDim: number;
  readonly heads: HeadArguments;
  readonly share: HeadShare;
  columns(projection: Projection): number;
  /** Planes of a region; raw queries and keys have no values. */
  planes(region: Float32Array): Planes;
}

function geometry(tokens: number, heads: HeadArguments, tp: { index: number; size: number }): Geometry {
  const { headDim } = heads;
  const share = headShare(heads.attentionHeads, heads.keyValueHeads, tp.size, tp.index);
  const [queryColumns, keyColumns] = [share.heads * headDim, share.kvHeads * headDim];
  return {
    tokens,
    headDim,
    heads,
    share,
    columns: (projection) => (projection === 'query' ? queryColumns : keyColumns),
    planes: (region) => {
      const key = tokens * queryColumns;
      const value = key + tokens * keyColumns;
      return { query: region.subarray(0, key), key: region.subarray(key, value), value: region.subarray(value) };
    },
  };
}

/** What of a parameter belongs to this rank's heads; replicated key/value weights hold them all. */
function ownHeads(all: Float32Array, g: Geometry, projection: Projection, elementsPerHead: number): Float32Array {
  const { kvReplicas, firstKvHead, kvHeads } = g.share;
  if (projection === 'query' || kvReplicas === 1) return all;
  return all.subarray(firstKvHead * elementsPerHead, (firstKvHead + kvHeads) * elementsPerHead);
}

const tables = new Map<string, RopeTable>();

/** What angles depend on beside the width. */
type RotaryArguments = Pick<CpuCallOf<RotaryKernel>['arguments'], 'sequence' | 'theta' | 'scaling'>;

/** The angles of a sequence, worked out once. */
export function angles({ sequence, theta, scaling }: RotaryArguments, width: number): RopeTable {
  const key = JSON.stringify([sequence, width, theta, scaling]);
  let table = tables.get(key);
  if (table === undefined) tables.set(key, (table = ropeTable(sequence, width, theta, scaling)));
  return table;
}

function attentionShape(
  call: CpuCallOf<'attention.core'> | CpuCallOf<'attention.core.backward'>,
  { tokens, headDim, share }: Geometry,
): AttentionShape {
  const { sequence, window, layer, heads } = call.arguments;
  return {
    batch: tokens / sequence,
    sequence,
    heads: share.heads,
    kvHeads: share.kvHeads,
    headDim,
    ...(heads.valueDim === undefined ? {} : { valueDim: heads.valueDim }),
    ...(heads.scoreScaling === undefined ? {} : { scoreScaling: heads.scoreScaling }),
    ...(window?.layers[layer] === true ? { window: window.tokens } : {}),
    ...(call.has('sinks') ? { sinks: call.f32('sinks') } : {}),
  };
}

function splitShape(g: Geometry, projection: 'query' | 'key', epsilon: number): SplitNormShape {
  const query = projection === 'query';
  return {
    rows: g.tokens,
    width: g.columns(projection),
    fullWidth: (query ? g.heads.attentionHeads : g.heads.keyValueHeads) * g.headDim,
    epsilon,
    share: query ? 1 : 1 / g.share.kvReplicas,
  };
}

/** A norm over every head: rows are heads of tokens. */
function headShape(g: Geometry, projection: 'query' | 'key', epsilon: number) {
  const rows = g.tokens * (projection === 'query' ? g.share.heads : g.share.kvHeads);
  return { rows, width: g.headDim, epsilon };
}

const rotary = (call: CpuCallOf<RotaryKernel>, tokens: number): Geometry =>
  geometry(tokens, call.arguments.heads, call.arguments.tp);

/**
 * This rank's heads of a query or key norm, or of its gradient: a norm over all heads has a weight for each, one over a
 * head the same for all.
 */
function normPart(
  call: CpuCallOf<RotaryKernel>,
  g: Geometry,
  projection: 'query' | 'key',
  all: Float32Array,
): Float32Array {
  return call.has('squares') ? ownHeads(all, g, projection, g.headDim) : all;
}

/** Queries or keys before clipping and rotation, into `out`. */
function normalise(call: CpuCallOf<RotaryKernel>, g: Geometry, projection: 'query' | 'key', out: Float32Array): void {
  const { epsilon } = call.arguments;
  const raw = g.planes(call.f32('raw'))[projection];
  const weight = normPart(call, g, projection, call.f32(`${projection}Norm`));
  if (!call.has('squares')) {
    const shape = headShape(g, projection, epsilon);
    rmsNormForward({ shape, x: raw, weight, y: out, inverseRms: new Float32Array(shape.rows) });
    return;
  }
  const all = call.f32('squares');
  const squares = projection === 'query' ? all.subarray(0, g.tokens) : all.subarray(g.tokens);
  splitNormApply({
    shape: splitShape(g, projection, epsilon),
    x: raw,
    weight,
    squares,
    y: out,
    inverseRms: new Float32Array(g.tokens),
  });
}

/** The angles, and how the rows of queries and keys lie. */
function rotation(call: CpuCallOf<RotaryKernel>, g: Geometry): { table: RopeTable; query: RopeRows; key: RopeRows } {
  const { sequence, rotaryDim = g.headDim, interleaved } = call.arguments;
  const rows = { rows: g.tokens, sequence, stride: g.headDim, interleaved };
  return {
    table: angles(call.arguments, rotaryDim),
    query: { ...rows, heads: g.share.heads },
    key: { ...rows, heads: g.share.kvHeads },
  };
}

/** Takes rotation, and clipping before it, out of the gradient of queries and keys. */
function unrotate(call: CpuCallOf<RotaryKernel>, g: Geometry, d: Planes): void {
  const { clip } = call.arguments;
  const { table, query, key } = rotation(call, g);
  ropeBackward(table, d.query, query);
  ropeBackward(table, d.key, key);
  if (clip === undefined) return;
  for (const projection of normed)
    call.scratch(d[projection].length, (before) => {
      normalise(call, g, projection, before);
      clampBackward(before, clip, d[projection], d[projection]);
    });
}

/**
 * No gradient where the value was clipped; `clipped` are values after clipping, so one at the limit counts as clipped.
 */
function maskClipped(gradient: Float32Array, clipped: Float32Array, limit: number): void {
  for (let i = 0; i < gradient.length; i++) if (Math.abs(clipped[i]) >= limit) gradient[i] = 0;
}

const forward: CatalogueKernels<
  'attention.project' | 'attention.squares' | 'attention.rotate' | 'attention.core' | 'attention.output'
> = {
  'attention.project': (call) => {
    const { heads, tp, clip } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    const planes = g.planes(call.f32('projected'));
    const raw = call.has('raw') ? g.planes(call.f32('raw')) : planes;
    for (const projection of projections) {
      const y = projection === 'value' ? planes.value : raw[projection];
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      const weight = ownHeads(call.f32(`${projection}Weight`), g, projection, g.headDim * inputs);
      linearForward({ gemm: call.gemm, shape: size, x: call.f32('normed'), weight, y });
      if (call.has(`${projection}Bias`))
        addBias(size, ownHeads(call.f32(`${projection}Bias`), g, projection, g.headDim), y);
    }
    if (clip !== undefined) clampForward(planes.value, clip, planes.value);
  },

  'attention.squares': (call) => {
    const { heads, tp, epsilon } = call.arguments;
    const g = geometry(call.rows('raw'), heads, tp);
    const raw = g.planes(call.f32('raw'));
    const squares = call.f32('squares');
    splitNormSquares(splitShape(g, 'query', epsilon), raw.query, squares.subarray(0, g.tokens));
    splitNormSquares(splitShape(g, 'key', epsilon), raw.key, squares.subarray(g.tokens));
  },

  /** Norm (where the model has one), clipping, rotation. */
  'attention.rotate': (call) => {
    const { clip } = call.arguments;
    const g = rotary(call, call.rows('projected'));
    const planes = g.planes(call.f32('projected'));
    if (call.has('raw'))
      for (const projection of normed) {
        normalise(call, g, projection, planes[projection]);
        if (clip !== undefined) clampForward(planes[projection], clip, planes[projection]);
      }
    const { table, query, key } = rotation(call, g);
    ropeForward(table, planes.query, query);
    ropeForward(table, planes.key, key);
  },

  'attention.core': (call) => {
    const { heads, tp } = call.arguments;
    const g = geometry(call.rows('projected'), heads, tp);
    const shape = attentionShape(call, g);
    const { query, key, value } = g.planes(call.f32('projected'));
    const [context, logSum] = [call.f32('context'), call.f32('logSumExp')];
    call.scratch(attentionScratch(shape), (scratch) =>
      attentionForward({ gemm: call.gemm, shape, q: query, k: key, v: value, out: context, logSum, scratch }),
    );
  },

  'attention.output': (call) => {
    const size = { rows: call.rows('context'), inputs: call.columns('context'), outputs: call.columns('output') };
    const output = call.f32('output');
    linearForward({ gemm: call.gemm, shape: size, x: call.f32('context'), weight: call.f32('weight'), y: output });
    if (call.has('bias') && call.arguments.tp.index === 0) addBias(size, call.f32('bias'), output);
  },
};

const backward: CatalogueKernels<Exclude<AttentionKernel, keyof typeof forward>> = {
  'attention.output.backward': (call) => {
    const [rows, inputs] = [call.rows('context'), call.columns('context')];
    const size = { rows, inputs, outputs: call.columns('outputGradient') };
    const dy = call.f32('outputGradient');
    linearInputGrad({ gemm: call.gemm, shape: size, dy, weight: call.f32('weight'), dx: call.f32('contextGradient') });
    linearWeightGrad({ gemm: call.gemm, shape: size, dy, x: call.f32('context'), dweight: call.f32('weightGradient') });
    if (call.has('biasGradient')) biasGrad(size, dy, call.f32('biasGradient'));
  },

  'attention.core.backward': (call) => {
    const { heads, tp, clip } = call.arguments;
    const g = geometry(call.rows('projected'), heads, tp);
    const shape = attentionShape(call, g);
    const { query, key, value } = g.planes(call.f32('projected'));
    const d = g.planes(call.f32('gradient'));
    const [context, logSum] = [call.f32('context'), call.f32('logSumExp')];
    const dcontext = call.f32('contextGradient');
    call.scratch(attentionScratch(shape), (scratch) =>
      attentionBackward({
        gemm: call.gemm,
        shape,
        q: query,
        k: key,
        v: value,
        out: context,
        logSum,
        dout: dcontext,
        dq: d.query,
        dk: d.key,
        dv: d.value,
        scratch,
      }),
    );
    if (call.has('sinksGradient'))
      sinksGradient(shape, { out: context, dout: dcontext, logSum }, call.f32('sinksGradient'));
    if (clip !== undefined) maskClipped(d.value, value, clip);
  },

  /** Through rotation and clipping; then each row's dot product, which the norm over all heads needs from all ranks. */
  'attention.dots.backward': (call) => {
    const g = rotary(call, call.rows('gradient'));
    const d = g.planes(call.f32('gradient'));
    unrotate(call, g, d);
    const raw = g.planes(call.f32('raw'));
    const dots = call.f32('dots');
    for (const [i, projection] of normed.entries())
      splitNormDot({
        shape: splitShape(g, projection, call.arguments.epsilon),
        x: raw[projection],
        weight: normPart(call, g, projection, call.f32(`${projection}Norm`)),
        dy: d[projection],
        dots: dots.subarray(i * g.tokens, (i + 1) * g.tokens),
      });
  },

  'attention.rotate.backward': (call) => {
    const g = rotary(call, call.rows('gradient'));
    const d = g.planes(call.f32('gradient'));
    if (!call.has('squares')) unrotate(call, g, d);
    if (!call.has('raw')) return;
    const raw = g.planes(call.f32('raw'));
    for (const [i, projection] of normed.entries()) {
      const weight = normPart(call, g, projection, call.f32(`${projection}Norm`));
      const gradient = normPart(call, g, projection, call.f32(`${projection}NormGradient`));
      normBackward(call, g, { projection, index: i, x: raw[projection], dy: d[projection], weight, gradient });
    }
  },

  'attention.project.backward': (call) => {
    const { heads, tp } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    const [x, dx] = [call.f32('normed'), call.f32('normedGradient')];
    const d = g.planes(call.f32('gradient'));
    for (const projection of projections) {
      const own = (all: Float32Array): Float32Array => ownHeads(all, g, projection, g.headDim * inputs);
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      linearInputGrad({
        gemm: call.gemm,
        shape: size,
        dy: d[projection],
        weight: own(call.f32(`${projection}Weight`)),
        dx,
        add: projection !== 'query',
      });
      linearWeightGrad({
        gemm: call.gemm,
        shape: size,
        dy: d[projection],
        x,
        dweight: own(call.f32(`${projection}WeightGradient`)),
      });
      if (call.has(`${projection}BiasGradient`))
        biasGrad(size, d[projection], ownHeads(call.f32(`${projection}BiasGradient`), g, projection, g.headDim));
    }
  },
};

/** Arrays of one projection in the norm's backward; `index` is its place in the statistics of both. */
interface NormBackward {
  readonly projection: 'query' | 'key';
  readonly index: number;
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
}

function normBackward(
  call: CpuCallOf<'attention.rotate.backward'>,
  g: Geometry,
  { projection, index, x, dy, weight, gradient }: NormBackward,
): void {
  const { epsilon } = call.arguments;
  if (call.has('squares')) {
    const shape = splitShape(g, projection, epsilon);
    const part = (of: Float32Array): Float32Array => of.subarray(index * g.tokens, (index + 1) * g.tokens);
    const squares = part(call.f32('squares'));
    const inverse = squares.map((sum) => 1 / Math.sqrt((sum * shape.share) / shape.fullWidth + shape.epsilon));
    splitNormBackward({
      shape,
      x,
      weight,
      inverseRms: inverse,
      dots: part(call.f32('dots')),
      dy,
      dx: dy,
      dweight: gradient,
    });
    return;
  }
  const shape = headShape(g, projection, epsilon);
  const inverse = new Float32Array(shape.rows);
  call.scratch(x.length, (y) => rmsNormForward({ shape, x, weight, y, inverseRms: inverse }));
  rmsNormBackward({ shape, x, weight, inverseRms: inverse, dy, dx: dy, dweight: gradient });
}

export const attentionKernels: CatalogueKernels<AttentionKernel> = { ...forward, ...backward };
