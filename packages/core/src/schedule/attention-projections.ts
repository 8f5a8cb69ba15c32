/** Queries, keys and values of full projections, their norms and rotation, forward and backward. */
import { projectionWeights, queryKeyNorms, type Projection, type SetUp } from './attention-parts.js';
import { rowsRegion } from './moe-shape.js';
import { add, read, write } from './template-builder.js';
import { matrixWork, memoryWork } from './work.js';

export function emitProjection(s: SetUp): void {
  const { builder, shape, model, shapesOf, weightOf, hiddenSize, qkvColumns, bytes } = s;
  const biased = model.attentionBias !== 'none';
  const bias = (projection: Projection) => (biased ? weightOf(shapesOf.bias(projection)) : undefined);
  builder.kernel({
    id: 'project',
    kernel: 'attention.project',
    operands: {
      normed: read('attention.normed'),
      ...projectionWeights(s),
      queryBias: bias('query'),
      keyBias: bias('key'),
      valueBias: bias('value'),
      projected: write('attention.queryKeyValue'),
      raw: s.normed ? write('attention.rawQueryKey') : undefined,
    },
    arguments: s.fields.perHead,
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: s.qkvFlops,
      bytesPerRow: (hiddenSize + qkvColumns) * bytes,
      fixedBytes: hiddenSize * qkvColumns * bytes,
      parts: [{ kind: 'product', columns: qkvColumns, depth: hiddenSize }],
    }),
  });
}

/** Query/key norm where the model has one, and rotation. */
export function emitRotation(s: SetUp, tp: number): void {
  const { builder, shape, qkvColumns, bytes } = s;
  if (s.allHeads) {
    builder.kernel({
      id: 'squares',
      kernel: 'attention.squares',
      operands: { raw: read('attention.rawQueryKey'), squares: write('attention.squares') },
      arguments: s.fields.perHead,
      work: memoryWork('norm', qkvColumns * bytes, { rows: shape.tokens }),
    });
    if (tp > 1)
      builder.collective({
        id: 'squares.reduce',
        lane: 'intra',
        collective: { name: 'all_reduce', group: 'tp' },
        operands: { buffer: add('attention.squares') },
      });
  }
  builder.kernel({
    id: 'rotate',
    kernel: 'attention.rotate',
    operands: { projected: add('attention.queryKeyValue'), raw: s.raw, squares: s.squares, ...queryKeyNorms(s) },
    arguments: s.fields.rotary,
    work: memoryWork(s.normed ? 'norm' : 'activation', 2 * qkvColumns * bytes, { rows: shape.tokens }),
  });
}

/** Through rotation and query/key norm. */
export function emitRotationBackward(s: SetUp, tp: number): void {
  const { builder, shape, bytes, qkvColumns, shapesOf, gradientOf, weightOf } = s;
  const all = shape.tokens;
  if (s.allHeads) {
    builder.region({ id: 'attention.dots', dtype: 'f32', rows: all, columns: 2, order: 'rows', life: 'layer' });
    builder.kernel({
      id: 'dots',
      kernel: 'attention.dots.backward',
      operands: {
        gradient: add('attention.qkvGradient'),
        raw: read('attention.rawQueryKey'),
        squares: read('attention.squares'),
        queryNorm: weightOf(shapesOf.norm('query')),
        keyNorm: weightOf(shapesOf.norm('key')),
        dots: write('attention.dots'),
      },
      arguments: s.fields.rotary,
      work: memoryWork('norm', 2 * qkvColumns * bytes, { rows: all }),
    });
    if (tp > 1)
      builder.collective({
        id: 'dots.reduce',
        lane: 'intra',
        collective: { name: 'all_reduce', group: 'tp' },
        operands: { buffer: add('attention.dots') },
      });
  }
  const normGradients = s.normed
    ? { queryNormGradient: gradientOf(shapesOf.norm('query')), keyNormGradient: gradientOf(shapesOf.norm('key')) }
    : {};
  builder.kernel({
    id: 'rotate',
    kernel: 'attention.rotate.backward',
    operands: {
      gradient: add('attention.qkvGradient'),
      raw: s.raw,
      squares: s.squares,
      dots: s.allHeads ? read('attention.dots') : undefined,
      ...queryKeyNorms(s),
      ...normGradients,
    },
    arguments: s.fields.rotary,
    work: memoryWork(s.normed ? 'norm' : 'activation', 2 * qkvColumns * bytes, { rows: all }),
  });
}

export function emitProjectionBackward(s: SetUp): void {
  const { builder, shape, hiddenSize, bytes, qkvColumns, shapesOf, gradientOf } = s;
  const biased = s.model.attentionBias !== 'none';
  const bias = (projection: Projection) => (biased ? gradientOf(shapesOf.bias(projection)) : undefined);
  builder.region(
    rowsRegion({ id: 'attention.normedGradient', shape, rows: shape.tokens, columns: hiddenSize, order: 'rows' }),
  );
  builder.kernel({
    id: 'project',
    kernel: 'attention.project.backward',
    operands: {
      gradient: read('attention.qkvGradient'),
      normed: read('attention.normed'),
      ...projectionWeights(s),
      normedGradient: write('attention.normedGradient'),
      queryWeightGradient: gradientOf(shapesOf.projection('query')),
      keyWeightGradient: gradientOf(shapesOf.projection('key')),
      valueWeightGradient: gradientOf(shapesOf.projection('value')),
      queryBiasGradient: bias('query'),
      keyBiasGradient: bias('key'),
      valueBiasGradient: bias('value'),
    },
    arguments: s.fields.perHead,
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: 2 * s.qkvFlops,
      bytesPerRow: 2 * (hiddenSize + qkvColumns) * bytes,
      fixedBytes: 3 * hiddenSize * qkvColumns * bytes,
      parts: [
        { kind: 'product', columns: hiddenSize, depth: qkvColumns },
        { kind: 'product', columns: qkvColumns, depth: hiddenSize, gradient: 'added' },
      ],
    }),
  });
}
