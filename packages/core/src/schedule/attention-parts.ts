/** What the forward and the backward template of the attention layer share: regions, sizes, parameters, arguments. */
import type { MoeModel } from '../model/model.js';
import type { HeadArguments } from './kernels/kernel-spec.js';
import { activationOf, dtypeBytes, rowsRegion, type MoeShape } from './moe-shape.js';
import { streamRows } from './moe-parts.js';
import { gradient, normShape, weight, type SlotShape } from './parameter-regions.js';
import type { Region } from './schedule.js';
import { headsPerRank, moeShape, type StepShape } from './step-shape.js';
import { read, TemplateBuilder } from './template-builder.js';
import { meanSeenOf, type AttentionPart } from './work.js';

/** Regions that forward leaves for backward. */
function savedRegions(step: StepShape, shape: MoeShape): Region[] {
  const { model, layout } = step;
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const rows = streamRows(shape.tokens, shape);
  const saved = (id: string, columns: number): Region =>
    rowsRegion({ id, shape, rows: shape.tokens, columns, order: 'rows', life: 'saved' });
  const { latentAttention: latent } = model;
  const { qkvColumns, contextColumns } = sizes(step);
  const ends = [
    rowsRegion({ id: 'attention.input', shape, rows, columns: model.hiddenSize, order: 'rows', life: 'saved' }),
    saved('attention.normed', model.hiddenSize),
    saved('attention.queryKeyValue', qkvColumns),
    { ...saved('attention.logSumExp', query), dtype: 'f32' as const },
    saved('attention.context', contextColumns),
  ];
  if (latent !== undefined) {
    const { queryRank, keyValueRank, ropeHeadDim } = latent;
    return [
      ...ends,
      ...(queryRank === undefined
        ? []
        : [saved('attention.queryLow', queryRank), saved('attention.queryLowNormed', queryRank)]),
      saved('attention.keyValueLow', keyValueRank + ropeHeadDim),
      saved('attention.keyValueLowNormed', keyValueRank),
    ];
  }
  return [
    ...ends,
    // Projections before norm and rotation are kept where the query/key norm needs them.
    ...(model.qkNorm === 'none' ? [] : [saved('attention.rawQueryKey', (query + keyValue) * model.headDim)]),
    ...(model.qkNorm === 'allHeads' ? [{ ...saved('attention.squares', 2), dtype: 'f32' as const }] : []),
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
  readonly core: Omit<AttentionPart, 'kind'>;
}

/** Widths of a key (and a query) and of a value. */
function headWidths({ headDim, latentAttention: latent }: MoeModel): Pick<AttentionPart, 'keyDim' | 'valueDim'> {
  return latent === undefined
    ? { keyDim: headDim, valueDim: headDim }
    : { keyDim: latent.nopeHeadDim + latent.ropeHeadDim, valueDim: latent.valueHeadDim };
}

function sizes(step: StepShape): Sizes {
  const { model, layout, sequence } = step;
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const { keyDim, valueDim } = headWidths(model);
  const qkvColumns = (query + keyValue) * keyDim + keyValue * valueDim;
  const contextColumns = query * valueDim;
  const core = { heads: query, sequence, keyDim, valueDim, ...windowedOf(model) };
  return {
    bytes: dtypeBytes[step.dtype],
    qkvColumns,
    contextColumns,
    qkvFlops: 2 * model.hiddenSize * qkvColumns,
    // Causal: a token sees (S + 1) / 2 keys on average, fewer where a window holds; two products.
    coreFlops: 2 * meanSeenOf(core) * query * (keyDim + valueDim),
    outputFlops: 2 * model.hiddenSize * contextColumns,
    core,
  };
}

/** The window, and in which share of the layers it holds. */
function windowedOf({ window }: MoeModel): Pick<AttentionPart, 'windowed'> {
  const held = window?.layers.filter(Boolean).length ?? 0;
  return window === undefined || held === 0
    ? {}
    : { windowed: { tokens: window.tokens, share: held / window.layers.length } };
}

export type Projection = 'query' | 'key' | 'value';

/** Shares of the parameters on one rank; all key/value heads where there are fewer of them than TP ranks. */
function shapes({ model, layout }: StepShape) {
  const { hiddenSize, headDim, attentionHeads, keyValueHeads, qkNorm } = model;
  const { valueDim } = headWidths(model);
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
    output: {
      slot: 'attention.output',
      rows: hiddenSize,
      columns: (attentionHeads / layout.tp) * valueDim,
    } satisfies SlotShape,
    outputBias: { slot: 'attention.outputBias', rows: 1, columns: hiddenSize } satisfies SlotShape,
  } as const;
}

/** Argument fields of the attention kernels. */
function argumentsOf({ model, sequence }: StepShape) {
  const { attentionHeads, keyValueHeads, clipQkv, window, latentAttention: latent, scoreScaling } = model;
  const { keyDim, valueDim } = headWidths(model);
  const heads: HeadArguments = {
    attentionHeads,
    keyValueHeads,
    headDim: keyDim,
    ...(valueDim === keyDim ? {} : { valueDim }),
    ...(scoreScaling === 1 ? {} : { scoreScaling }),
  };
  const turned = {
    sequence,
    theta: model.ropeTheta,
    scaling: model.ropeScaling,
    interleaved: model.ropeInterleaved ? true : undefined,
  };
  const widths = {
    keyValueRank: latent?.keyValueRank ?? 0,
    nope: latent?.nopeHeadDim ?? 0,
    rope: latent?.ropeHeadDim ?? 0,
    value: valueDim,
  };
  const perHead = { heads, clip: clipQkv, epsilon: model.rmsNormEps };
  return {
    perHead,
    rotary: { ...perHead, ...turned, rotaryDim: model.rotaryDim },
    latent: { heads, latent: widths, ...turned },
    attended: { heads, sequence, window },
  };
}

/** What both passes are written with. */
export function setUp(step: StepShape) {
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
    latent: model.latentAttention,
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

export type SetUp = ReturnType<typeof setUp>;

export const projectionWeights = ({ shapesOf, weightOf }: SetUp) => ({
  queryWeight: weightOf(shapesOf.projection('query')),
  keyWeight: weightOf(shapesOf.projection('key')),
  valueWeight: weightOf(shapesOf.projection('value')),
});

export const queryKeyNorms = ({ normed, shapesOf, weightOf }: SetUp) =>
  normed ? { queryNorm: weightOf(shapesOf.norm('query')), keyNorm: weightOf(shapesOf.norm('key')) } : {};
