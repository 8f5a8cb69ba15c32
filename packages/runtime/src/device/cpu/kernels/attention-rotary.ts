/** Norm, clipping and rotation of queries and keys, forward and backward, on a rank's own heads. */
import {
  clampBackward,
  rmsNormBackward,
  rmsNormForward,
  ropeBackward,
  ropeTable,
  splitNormApply,
  splitNormBackward,
  type RopeRows,
  type RopeTable,
  type SplitNormShape,
} from '../../../transformer/index.js';
import type { CpuCallOf } from '../kernel-call.js';
import { geometry, normed, ownHeads, type Geometry, type Planes } from './attention-geometry.js';

/** Kernels around rotation and query/key norm. */
type RotaryKernel = 'attention.rotate' | 'attention.dots.backward' | 'attention.rotate.backward';

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

export function splitShape(g: Geometry, projection: 'query' | 'key', epsilon: number): SplitNormShape {
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

export const rotary = (call: CpuCallOf<RotaryKernel>, tokens: number): Geometry =>
  geometry(tokens, call.arguments.heads, call.arguments.tp);

/**
 * This rank's heads of a query or key norm, or of its gradient: a norm over all heads has a weight for each, one over a
 * head the same for all.
 */
export function normPart(
  call: CpuCallOf<RotaryKernel>,
  g: Geometry,
  projection: 'query' | 'key',
  all: Float32Array,
): Float32Array {
  return call.has('squares') ? ownHeads(all, g, projection, g.headDim) : all;
}

/** Queries or keys before clipping and rotation, into `out`. */
export function normalise(
  call: CpuCallOf<RotaryKernel>,
  g: Geometry,
  projection: 'query' | 'key',
  out: Float32Array,
): void {
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
export function rotation(
  call: CpuCallOf<RotaryKernel>,
  g: Geometry,
): { table: RopeTable; query: RopeRows; key: RopeRows } {
  const { sequence, rotaryDim = g.headDim, interleaved } = call.arguments;
  const rows = { rows: g.tokens, sequence, stride: g.headDim, interleaved };
  return {
    table: angles(call.arguments, rotaryDim),
    query: { ...rows, heads: g.share.heads },
    key: { ...rows, heads: g.share.kvHeads },
  };
}

/** Takes rotation, and clipping before it, out of the gradient of queries and keys. */
export function unrotate(call: CpuCallOf<RotaryKernel>, g: Geometry, d: Planes): void {
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

/** Arrays of one projection in the norm's backward; `index` is its place in the statistics of both. */
interface NormBackward {
  readonly projection: 'query' | 'key';
  readonly index: number;
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
}

export function normBackward(
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
