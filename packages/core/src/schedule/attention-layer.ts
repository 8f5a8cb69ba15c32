/**
 * The attention layer as templates: norm, column-parallel query/key/value, rotary positions, causal grouped-query attention, row-parallel
 * output. With replicated activations the partial outputs are all-reduced over TP; with sequence parallelism tokens are gathered before
 * and reduce-scattered after (Megatron-LM).
 */
import type { HeadArguments } from './kernels.js';
import { activationOf, dtypeBytes, rowsRegion, type MoeShape } from './moe-shape.js';
import { streamRegion, streamRows } from './moe-parts.js';
import { gradient, normShape, weight, type SlotShape } from './parameter-regions.js';
import type { Region, Template } from './schedule.js';
import { headsPerRank, moeShape, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';
import { matrixWork, memoryWork, type AttentionPart } from './work.js';

/** Regions that forward leaves for backward. */
function savedRegions(step: StepShape, shape: MoeShape): Region[] {
  const { model, layout } = step;
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const rows = streamRows(shape.tokens, shape);
  const saved = (id: string, columns: number): Region =>
    rowsRegion({ id, shape, rows: shape.tokens, columns, order: 'rows', life: 'saved' });
  return [
    rowsRegion({ id: 'attention.input', shape, rows, columns: model.hiddenSize, order: 'rows', life: 'saved' }),
    saved('attention.normed', model.hiddenSize),
    // Projections before norm and rotation are kept where the query/key norm needs them.
    ...(model.qkNorm === 'none' ? [] : [saved('attention.rawQueryKey', (query + keyValue) * model.headDim)]),
    ...(model.qkNorm === 'allHeads' ? [{ ...saved('attention.squares', 2), dtype: 'f32' as const }] : []),
    saved('attention.queryKeyValue', (query + 2 * keyValue) * model.headDim),
    { ...saved('attention.logSumExp', query), dtype: 'f32' as const },
    saved('attention.context', query * model.headDim),
  ];
}

interface Sizes {
  readonly bytes: number;
  readonly qkvColumns: number;
  readonly contextColumns: number;
  readonly qkvFlops: number;
  readonly coreFlops: number;
  readonly outputFlops: number;
  /** Of attention itself. */
  readonly core: Pick<AttentionPart, 'heads' | 'sequence' | 'keyDim' | 'valueDim'>;
}

function sizes(step: StepShape): Sizes {
  const { model, layout, sequence } = step;
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const qkvColumns = (query + 2 * keyValue) * model.headDim;
  const contextColumns = query * model.headDim;
  return {
    bytes: dtypeBytes[step.dtype],
    qkvColumns,
    contextColumns,
    qkvFlops: 2 * model.hiddenSize * qkvColumns,
    // Causal: a token sees (S + 1) / 2 keys on average; two products.
    coreFlops: 2 * (sequence + 1) * contextColumns,
    outputFlops: 2 * model.hiddenSize * contextColumns,
    core: { heads: query, sequence, keyDim: model.headDim, valueDim: model.headDim },
  };
}

type Projection = 'query' | 'key' | 'value';

/** Shares of the parameters on one rank; all key/value heads where there are fewer of them than TP ranks. */
function shapes({ model, layout }: StepShape) {
  const { hiddenSize, headDim, attentionHeads, keyValueHeads, qkNorm } = model;
  const rows = {
    query: (attentionHeads / layout.tp) * headDim,
    key: (keyValueHeads >= layout.tp ? keyValueHeads / layout.tp : keyValueHeads) * headDim,
  };
  const rowsOf = (projection: Projection): number => (projection === 'query' ? rows.query : rows.key);
  return {
    projection: (projection: Projection): SlotShape => ({
      slot: `attention.${projection}`,
      rows: rowsOf(projection),
      columns: hiddenSize,
    }),
    bias: (projection: Projection): SlotShape => ({
      slot: `attention.${projection}Bias`,
      rows: 1,
      columns: rowsOf(projection),
    }),
    norm: (projection: 'query' | 'key'): SlotShape => ({
      slot: `attention.${projection}Norm`,
      rows: 1,
      columns: qkNorm === 'perHead' ? headDim : rowsOf(projection),
    }),
    sinks: { slot: 'attention.sinks', rows: 1, columns: attentionHeads / layout.tp } satisfies SlotShape,
    output: { slot: 'attention.output', rows: hiddenSize, columns: rows.query } satisfies SlotShape,
    outputBias: { slot: 'attention.outputBias', rows: 1, columns: hiddenSize } satisfies SlotShape,
  } as const;
}

/** Argument fields of the attention kernels. */
function argumentsOf({ model, sequence }: StepShape) {
  const { attentionHeads, keyValueHeads, headDim, clipQkv, window } = model;
  const heads: HeadArguments = { attentionHeads, keyValueHeads, headDim };
  const perHead = { heads, clip: clipQkv, epsilon: model.rmsNormEps };
  return {
    perHead,
    rotary: { ...perHead, sequence, theta: model.ropeTheta, scaling: model.ropeScaling },
    attended: { heads, sequence, window },
  };
}

/** What both passes are written with. */
function setUp(step: StepShape) {
  const shape = moeShape(step);
  const builder = new TemplateBuilder();
  for (const region of savedRegions(step, shape)) builder.region(region);
  const { model } = step;
  const shapesOf = shapes(step);
  const normed = model.qkNorm !== 'none';
  const allHeads = model.qkNorm === 'allHeads';
  return {
    shape,
    builder,
    model,
    shapesOf,
    fields: argumentsOf(step),
    activation: activationOf(step.layout),
    rows: streamRows(shape.tokens, shape),
    hiddenSize: model.hiddenSize,
    layerNorm: normShape('attention.norm', model.hiddenSize),
    normed,
    allHeads,
    raw: normed ? read('attention.rawQueryKey') : undefined,
    squares: allHeads ? read('attention.squares') : undefined,
    weightOf: (of: SlotShape) => weight(builder, shape.dtype, of),
    gradientOf: (of: SlotShape) => gradient(builder, of),
    ...sizes(step),
  };
}

type SetUp = ReturnType<typeof setUp>;

const projectionWeights = ({ shapesOf, weightOf }: SetUp) => ({
  queryWeight: weightOf(shapesOf.projection('query')),
  keyWeight: weightOf(shapesOf.projection('key')),
  valueWeight: weightOf(shapesOf.projection('value')),
});

const queryKeyNorms = ({ normed, shapesOf, weightOf }: SetUp) =>
  normed ? { queryNorm: weightOf(shapesOf.norm('query')), keyNorm: weightOf(shapesOf.norm('key')) } : {};

function emitProjection(s: SetUp): void {
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
function emitRotation(s: SetUp, tp: number): void {
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

/** Forward: adds attention's output to `stream`. */
export function attentionForward(step: StepShape): Template {
  const s = setUp(step);
  const { builder, shape, activation, rows, hiddenSize, bytes, qkvColumns, contextColumns } = s;
  builder.region(streamRegion('stream', shape));
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion({ id: 'attention.normed.slice', shape, rows, columns: hiddenSize, order: 'rows' }))
    : 'attention.normed';
  builder.kernel({
    id: 'norm',
    kernel: 'norm',
    operands: {
      stream: read('stream'),
      weight: s.weightOf(s.layerNorm),
      kept: write('attention.input'),
      normed: write(normed),
    },
    arguments: { epsilon: s.model.rmsNormEps },
    work: memoryWork('norm', 3 * hiddenSize * bytes, { rows }),
  });
  if (sliced) gatherTokens(builder, normed, 'attention.normed');
  emitProjection(s);
  emitRotation(s, step.layout.tp);
  builder.kernel({
    id: 'core',
    kernel: 'attention.core',
    operands: {
      projected: read('attention.queryKeyValue'),
      sinks: s.model.attentionSinks ? s.weightOf(s.shapesOf.sinks) : undefined,
      logSumExp: write('attention.logSumExp'),
      context: write('attention.context'),
    },
    arguments: s.fields.attended,
    work: matrixWork({
      kind: 'attention',
      rows: shape.tokens,
      flopsPerRow: s.coreFlops,
      bytesPerRow: (qkvColumns + contextColumns) * bytes,
      parts: [{ kind: 'attention', ...s.core }],
    }),
  });
  builder.region(rowsRegion({ id: 'attention.output', shape, rows: shape.tokens, columns: hiddenSize, order: 'rows' }));
  builder.kernel({
    id: 'output',
    kernel: 'attention.output',
    operands: {
      context: read('attention.context'),
      weight: s.weightOf(s.shapesOf.output),
      bias: s.model.attentionBias === 'all' ? s.weightOf(s.shapesOf.outputBias) : undefined,
      output: write('attention.output'),
    },
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: s.outputFlops,
      bytesPerRow: (hiddenSize + contextColumns) * bytes,
      fixedBytes: hiddenSize * contextColumns * bytes,
      parts: [{ kind: 'product', columns: hiddenSize, depth: contextColumns }],
    }),
  });
  const output = reducePartial(builder, shape, 'attention.output', 'reduce');
  builder.kernel({
    id: 'residual',
    kernel: 'residual.add',
    operands: { from: read(output), to: add('stream') },
    work: memoryWork('add', 3 * hiddenSize * bytes, { rows }),
  });
  return builder.build('attention.forward', activation, activation);
}

/** Gathers all T rows over TP from every rank's slice. */
export function gatherTokens(builder: TemplateBuilder, slice: string, all: string, id = 'gather'): void {
  builder.collective({
    id,
    lane: 'intra',
    collective: { name: 'all_gather', group: 'tp', split: 'tokens' },
    operands: { from: read(slice), to: write(all) },
  });
}

/** The stream's gradient of all T rows: gathered when the stream is sliced. Returns the region. */
export function gatheredGradient(builder: TemplateBuilder, shape: MoeShape): string {
  builder.region(streamRegion('gradient', shape));
  if (activationOf(shape.layout) !== 'sequence') return 'gradient';
  const all = builder.region(
    rowsRegion({ id: 'gradient.all', shape, rows: shape.tokens, columns: shape.hiddenSize, order: 'rows' }),
  );
  gatherTokens(builder, 'gradient', all);
  return all;
}

/** Sums partial rows over TP: in place with replicated activations, into this rank's slice with sequence parallelism. Returns the region. */
export function reducePartial(builder: TemplateBuilder, shape: MoeShape, partial: string, id: string): string {
  const { layout, hiddenSize, tokens } = shape;
  if (layout.tp === 1) return partial;
  if (activationOf(layout) === 'replicated') {
    builder.collective({
      id,
      lane: 'intra',
      collective: { name: 'all_reduce', group: 'tp' },
      operands: { buffer: add(partial) },
    });
    return partial;
  }
  const slice = builder.region(
    rowsRegion({ id: `${partial}.slice`, shape, rows: streamRows(tokens, shape), columns: hiddenSize, order: 'rows' }),
  );
  builder.collective({
    id,
    lane: 'intra',
    collective: { name: 'reduce_scatter', group: 'tp', split: 'tokens' },
    operands: { from: read(partial), to: write(slice) },
  });
  return slice;
}

function emitCoreBackward(s: SetUp, source: string): void {
  const { builder, shape, hiddenSize, bytes, qkvColumns, contextColumns } = s;
  const all = shape.tokens;
  builder.region(
    rowsRegion({ id: 'attention.contextGradient', shape, rows: all, columns: contextColumns, order: 'rows' }),
  );
  builder.kernel({
    id: 'output',
    kernel: 'attention.output.backward',
    operands: {
      outputGradient: read(source),
      context: read('attention.context'),
      weight: s.weightOf(s.shapesOf.output),
      contextGradient: write('attention.contextGradient'),
      weightGradient: s.gradientOf(s.shapesOf.output),
      biasGradient: s.model.attentionBias === 'all' ? s.gradientOf(s.shapesOf.outputBias) : undefined,
    },
    work: matrixWork({
      rows: all,
      flopsPerRow: 2 * s.outputFlops,
      bytesPerRow: 2 * (hiddenSize + contextColumns) * bytes,
      fixedBytes: 3 * hiddenSize * contextColumns * bytes,
      parts: [
        { kind: 'product', columns: contextColumns, depth: hiddenSize },
        { kind: 'product', columns: hiddenSize, depth: contextColumns, gradient: true },
      ],
    }),
  });
  builder.region(rowsRegion({ id: 'attention.qkvGradient', shape, rows: all, columns: qkvColumns, order: 'rows' }));
  builder.kernel({
    id: 'core',
    kernel: 'attention.core.backward',
    operands: {
      contextGradient: read('attention.contextGradient'),
      projected: read('attention.queryKeyValue'),
      sinks: s.model.attentionSinks ? s.weightOf(s.shapesOf.sinks) : undefined,
      logSumExp: read('attention.logSumExp'),
      context: read('attention.context'),
      gradient: write('attention.qkvGradient'),
      sinksGradient: s.model.attentionSinks ? s.gradientOf(s.shapesOf.sinks) : undefined,
    },
    arguments: { ...s.fields.attended, clip: s.fields.perHead.clip },
    work: matrixWork({
      kind: 'attention',
      rows: all,
      flopsPerRow: 2.5 * s.coreFlops,
      bytesPerRow: 3 * (qkvColumns + contextColumns) * bytes,
      parts: [{ kind: 'attentionBackward', ...s.core }],
    }),
  });
}

/** Through rotation and query/key norm. */
function emitRotationBackward(s: SetUp, tp: number): void {
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

function emitProjectionBackward(s: SetUp): void {
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
        { kind: 'product', columns: qkvColumns, depth: hiddenSize, gradient: true },
      ],
    }),
  });
}

/** Backward: `gradient` of the layer's output becomes that of its input. */
export function attentionBackward(step: StepShape): Template {
  const s = setUp(step);
  const { builder, shape, activation, rows, hiddenSize, bytes } = s;
  emitCoreBackward(s, gatheredGradient(builder, shape));
  emitRotationBackward(s, step.layout.tp);
  emitProjectionBackward(s);
  const reduced = reducePartial(builder, shape, 'attention.normedGradient', 'reduce');
  builder.kernel({
    id: 'norm',
    kernel: 'norm.backward',
    operands: {
      normedGradient: read(reduced),
      kept: read('attention.input'),
      weight: s.weightOf(s.layerNorm),
      gradient: add('gradient'),
      weightGradient: s.gradientOf(s.layerNorm),
    },
    arguments: { epsilon: s.model.rmsNormEps, accumulate: true },
    work: memoryWork('norm', 5 * hiddenSize * bytes, { rows }),
  });
  return builder.build('attention.backward', activation, activation);
}
