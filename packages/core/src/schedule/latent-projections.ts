/**
 * Queries, keys and values of latent attention (DeepSeek-V2, arXiv 2405.04434, 2.1): down to low ranks, norms, up to
 * heads and rotation, forward and backward. Every TP rank computes the low ranks of all tokens; the way up is split by
 * heads, so the gradients of what lies in front of it are partial sums over TP, the input's like those of full
 * projections.
 */
import type { LatentAttention } from '../model/model.js';
import type { SetUp } from './attention-parts.js';
import { rowsRegion } from './moe-shape.js';
import { normShape, type SlotShape } from './parameter-regions.js';
import type { Slot } from './parameter.js';
import { add, read, write } from './template-builder.js';
import { matrixWork, memoryWork, type ProductPart } from './work.js';

/** Epsilon of the norms of low ranks in transformers, whatever the model's own is. */
const lowRankEpsilon = 1e-6;

function latentOf({ latent }: SetUp): LatentAttention {
  if (latent === undefined) throw new Error('the model has no latent attention');
  return latent;
}

function shapes(s: SetUp) {
  const { queryRank, keyValueRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = latentOf(s);
  const { heads } = s.core;
  const matrix = (slot: Slot, rows: number, columns: number): SlotShape => ({ slot, rows, columns });
  const [queries, ups] = [heads * (nopeHeadDim + ropeHeadDim), heads * (nopeHeadDim + valueHeadDim)];
  const low = keyValueRank + ropeHeadDim;
  return {
    low,
    queries,
    ups,
    queryDown: matrix('latent.queryDown', queryRank ?? 0, s.hiddenSize),
    queryDownBias: normShape('latent.queryDownBias', queryRank ?? 0),
    queryNorm: normShape('latent.queryNorm', queryRank ?? 0),
    queryUp: matrix('latent.queryUp', queries, queryRank ?? s.hiddenSize),
    keyValueDown: matrix('latent.keyValueDown', low, s.hiddenSize),
    keyValueDownBias: normShape('latent.keyValueDownBias', low),
    keyValueNorm: normShape('latent.keyValueNorm', keyValueRank),
    keyValueUp: matrix('latent.keyValueUp', ups, keyValueRank),
  };
}

const product = (columns: number, depth: number): ProductPart => ({ kind: 'product', columns, depth });
const flopsOf = (parts: readonly ProductPart[]): number =>
  parts.reduce((sum, { columns, depth }) => sum + 2 * columns * depth, 0);
const elementsOf = (parts: readonly ProductPart[]): number =>
  parts.reduce((sum, { columns, depth }) => sum + columns * depth, 0);
const columnsOf = (parts: readonly ProductPart[]): number =>
  parts.reduce((sum, { columns, depth }) => sum + columns + depth, 0);

/** Products of one kernel, and for its backward those of both gradients. */
function productWork(s: SetUp, parts: readonly ProductPart[], pass: 'forward' | 'backward') {
  const times = pass === 'forward' ? 1 : 2;
  return matrixWork({
    rows: s.shape.tokens,
    flopsPerRow: times * flopsOf(parts),
    bytesPerRow: times * columnsOf(parts) * s.bytes,
    fixedBytes: (pass === 'forward' ? 1 : 3) * elementsOf(parts) * s.bytes,
    parts:
      pass === 'forward'
        ? parts
        : parts.flatMap((part) => [product(part.depth, part.columns), { ...part, gradient: 'added' as const }]),
  });
}

/** Products down, and products up. */
function products(s: SetUp): { readonly down: ProductPart[]; readonly up: ProductPart[] } {
  const { queryRank, keyValueRank } = latentOf(s);
  const { low, queries, ups } = shapes(s);
  return {
    down: [...(queryRank === undefined ? [] : [product(queryRank, s.hiddenSize)]), product(low, s.hiddenSize)],
    up: [product(queries, queryRank ?? s.hiddenSize), product(ups, keyValueRank)],
  };
}

const normColumns = (s: SetUp): number => (latentOf(s).queryRank ?? 0) + latentOf(s).keyValueRank;

/** From the normed input to planes of queries, keys and values. */
export function emitLatentProjection(s: SetUp): void {
  const { builder, weightOf } = s;
  const of = shapes(s);
  const low = latentOf(s).queryRank !== undefined;
  const biased = s.model.attentionBias !== 'none';
  const { down, up } = products(s);
  builder.kernel({
    id: 'compress',
    kernel: 'latent.compress',
    operands: {
      normed: read('attention.normed'),
      queryDown: low ? weightOf(of.queryDown) : undefined,
      queryDownBias: low && biased ? weightOf(of.queryDownBias) : undefined,
      keyValueDown: weightOf(of.keyValueDown),
      keyValueDownBias: biased ? weightOf(of.keyValueDownBias) : undefined,
      queryLow: low ? write('attention.queryLow') : undefined,
      keyValueLow: write('attention.keyValueLow'),
    },
    work: productWork(s, down, 'forward'),
  });
  builder.kernel({
    id: 'lowNorm',
    kernel: 'latent.norm',
    operands: {
      queryLow: low ? read('attention.queryLow') : undefined,
      queryNorm: low ? weightOf(of.queryNorm) : undefined,
      queryLowNormed: low ? write('attention.queryLowNormed') : undefined,
      keyValueLow: read('attention.keyValueLow'),
      keyValueNorm: weightOf(of.keyValueNorm),
      keyValueLowNormed: write('attention.keyValueLowNormed'),
    },
    arguments: { epsilon: lowRankEpsilon },
    work: memoryWork('norm', 2 * normColumns(s) * s.bytes, { rows: s.shape.tokens }),
  });
  builder.kernel({
    id: 'expand',
    kernel: 'latent.expand',
    operands: {
      queryInput: read(low ? 'attention.queryLowNormed' : 'attention.normed'),
      queryUp: weightOf(of.queryUp),
      keyValueLow: read('attention.keyValueLow'),
      keyValueLowNormed: read('attention.keyValueLowNormed'),
      keyValueUp: weightOf(of.keyValueUp),
      projected: write('attention.queryKeyValue'),
    },
    arguments: s.fields.latent,
    work: productWork(s, up, 'forward'),
  });
}

/** Regions of gradients in front of the heads. */
function gradientRegions(s: SetUp) {
  const { builder, shape } = s;
  const { queryRank, keyValueRank, ropeHeadDim } = latentOf(s);
  const region = (id: string, columns: number): string =>
    builder.region(rowsRegion({ id: `attention.${id}`, shape, rows: shape.tokens, columns, order: 'rows' }));
  const normed = region('normedGradient', s.hiddenSize);
  return {
    normed,
    queryInput: queryRank === undefined ? normed : region('queryLowNormedGradient', queryRank),
    ...(queryRank === undefined ? {} : { queryLow: region('queryLowGradient', queryRank) }),
    keyValueNormed: region('keyValueLowNormedGradient', keyValueRank),
    keyRope: region('keyRopeGradient', ropeHeadDim),
    keyValueLow: region('keyValueLowGradient', keyValueRank + ropeHeadDim),
  };
}

/** From the gradient of the planes to that of the normed input, a partial sum over TP. */
export function emitLatentProjectionBackward(s: SetUp): void {
  const d = gradientRegions(s);
  emitExpandBackward(s, d);
  emitLowNormBackward(s, d);
  emitCompressBackward(s, d);
}

type GradientRegions = ReturnType<typeof gradientRegions>;

function emitExpandBackward(s: SetUp, d: GradientRegions): void {
  const { builder, weightOf, gradientOf } = s;
  const of = shapes(s);
  const low = d.queryLow !== undefined;
  builder.kernel({
    id: 'expand',
    kernel: 'latent.expand.backward',
    operands: {
      gradient: read('attention.qkvGradient'),
      queryInput: read(low ? 'attention.queryLowNormed' : 'attention.normed'),
      queryUp: weightOf(of.queryUp),
      keyValueLowNormed: read('attention.keyValueLowNormed'),
      keyValueUp: weightOf(of.keyValueUp),
      queryInputGradient: write(d.queryInput),
      keyValueLowNormedGradient: write(d.keyValueNormed),
      keyRopeGradient: write(d.keyRope),
      queryUpGradient: gradientOf(of.queryUp),
      keyValueUpGradient: gradientOf(of.keyValueUp),
    },
    arguments: s.fields.latent,
    work: productWork(s, products(s).up, 'backward'),
  });
}

function emitLowNormBackward(s: SetUp, d: GradientRegions): void {
  const { builder, weightOf, gradientOf } = s;
  const of = shapes(s);
  const low = d.queryLow !== undefined;
  builder.kernel({
    id: 'lowNorm',
    kernel: 'latent.norm.backward',
    operands: {
      queryLow: low ? read('attention.queryLow') : undefined,
      queryNorm: low ? weightOf(of.queryNorm) : undefined,
      queryLowNormedGradient: low ? read(d.queryInput) : undefined,
      queryLowGradient: d.queryLow === undefined ? undefined : write(d.queryLow),
      queryNormGradient: low ? gradientOf(of.queryNorm) : undefined,
      keyValueLow: read('attention.keyValueLow'),
      keyValueNorm: weightOf(of.keyValueNorm),
      keyValueLowNormedGradient: read(d.keyValueNormed),
      keyRopeGradient: read(d.keyRope),
      keyValueLowGradient: write(d.keyValueLow),
      keyValueNormGradient: gradientOf(of.keyValueNorm),
    },
    arguments: { epsilon: lowRankEpsilon },
    work: memoryWork('norm', 4 * normColumns(s) * s.bytes, { rows: s.shape.tokens }),
  });
}

function emitCompressBackward(s: SetUp, d: GradientRegions): void {
  const { builder, weightOf, gradientOf } = s;
  const of = shapes(s);
  const low = d.queryLow !== undefined;
  const biased = s.model.attentionBias !== 'none';
  builder.kernel({
    id: 'compress',
    kernel: 'latent.compress.backward',
    operands: {
      normed: read('attention.normed'),
      queryLowGradient: d.queryLow === undefined ? undefined : read(d.queryLow),
      queryDown: low ? weightOf(of.queryDown) : undefined,
      keyValueLowGradient: read(d.keyValueLow),
      keyValueDown: weightOf(of.keyValueDown),
      // Without a rank of queries their part of the input's gradient is there already.
      normedGradient: low ? write(d.normed) : add(d.normed),
      queryDownGradient: low ? gradientOf(of.queryDown) : undefined,
      queryDownBiasGradient: low && biased ? gradientOf(of.queryDownBias) : undefined,
      keyValueDownGradient: gradientOf(of.keyValueDown),
      keyValueDownBiasGradient: biased ? gradientOf(of.keyValueDownBias) : undefined,
    },
    arguments: { accumulate: !low },
    work: productWork(s, products(s).down, 'backward'),
  });
}
