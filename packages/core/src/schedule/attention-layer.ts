/**
 * The attention layer as templates: norm, column-parallel query/key/value, rotary positions, causal grouped-query attention, row-parallel
 * output. With replicated activations the partial outputs are all-reduced over TP; with sequence parallelism tokens are gathered before
 * and reduce-scattered after (Megatron-LM).
 */
import { activationOf, dtypeBytes, rowsRegion, work, type MoeShape } from './moe-shape.js';
import { streamRegion, streamRows } from './moe-parts.js';
import type { Region, Template } from './schedule.js';
import { headsPerRank, moeShape, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';

/** Regions that forward leaves for backward. */
function savedRegions(step: StepShape, shape: MoeShape): Region[] {
  const { model, layout } = step;
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const rows = streamRows(shape.tokens, shape);
  const saved = (id: string, columns: number): Region => rowsRegion(id, shape, shape.tokens, columns, 'rows', 'saved');
  return [
    rowsRegion('attention.input', shape, rows, model.hiddenSize, 'rows', 'saved'),
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
  };
}

/** Forward: adds attention's output to `stream`. */
export function attentionForward(step: StepShape): Template {
  const shape = moeShape(step);
  const { model, layout } = step;
  const { hiddenSize } = model;
  const activation = activationOf(layout);
  const builder = new TemplateBuilder();
  const rows = streamRows(shape.tokens, shape);
  const { bytes, qkvColumns, contextColumns, qkvFlops, coreFlops, outputFlops } = sizes(step);
  builder.region(streamRegion('stream', shape));
  for (const region of savedRegions(step, shape)) builder.region(region);
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion('attention.normed.slice', shape, rows, hiddenSize, 'rows'))
    : 'attention.normed';
  builder.kernel('norm', 'attention.norm', work('memory', rows, { bytes: 3 * hiddenSize * bytes }), [
    read('stream'),
    write('attention.input'),
    write(normed),
  ]);
  if (sliced)
    builder.collective('gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
      read(normed),
      write('attention.normed'),
    ]);
  const all = shape.tokens;
  builder.kernel(
    'project',
    'attention.project',
    work(
      'gemm',
      all,
      { flops: qkvFlops, bytes: (hiddenSize + qkvColumns) * bytes },
      { fixedBytes: hiddenSize * qkvColumns * bytes },
    ),
    [
      read('attention.normed'),
      write('attention.queryKeyValue'),
      ...(model.qkNorm === 'none' ? [] : [write('attention.rawQueryKey')]),
    ],
  );
  if (model.qkNorm === 'allHeads') {
    builder.kernel('squares', 'attention.squares', work('memory', all, { bytes: qkvColumns * bytes }), [
      read('attention.rawQueryKey'),
      write('attention.squares'),
    ]);
    if (layout.tp > 1)
      builder.collective('squares.reduce', 'intra', { name: 'all_reduce', group: 'tp' }, [add('attention.squares')]);
  }
  builder.kernel('rotate', 'attention.rotate', work('memory', all, { bytes: 2 * qkvColumns * bytes }), [
    add('attention.queryKeyValue'),
    ...(model.qkNorm === 'none' ? [] : [read('attention.rawQueryKey')]),
    ...(model.qkNorm === 'allHeads' ? [read('attention.squares')] : []),
  ]);
  builder.kernel(
    'core',
    'attention.core',
    work('attention', all, { flops: coreFlops, bytes: (qkvColumns + contextColumns) * bytes }),
    [read('attention.queryKeyValue'), write('attention.logSumExp'), write('attention.context')],
  );
  builder.region(rowsRegion('attention.output', shape, all, hiddenSize, 'rows'));
  builder.kernel(
    'output',
    'attention.output',
    work(
      'gemm',
      all,
      { flops: outputFlops, bytes: (hiddenSize + contextColumns) * bytes },
      { fixedBytes: hiddenSize * contextColumns * bytes },
    ),
    [read('attention.context'), write('attention.output')],
  );
  const output = reducePartial(builder, shape, 'attention.output', 'reduce');
  builder.kernel('residual', 'residual.add', work('memory', rows, { bytes: 3 * hiddenSize * bytes }), [
    read(output),
    add('stream'),
  ]);
  return builder.build('attention.forward', activation, activation);
}

/** Sums partial rows over TP: in place with replicated activations, into this rank's slice with sequence parallelism. Returns the region. */
export function reducePartial(builder: TemplateBuilder, shape: MoeShape, partial: string, id: string): string {
  const { layout, hiddenSize, tokens } = shape;
  if (layout.tp === 1) return partial;
  if (activationOf(layout) === 'replicated') {
    builder.collective(id, 'intra', { name: 'all_reduce', group: 'tp' }, [add(partial)]);
    return partial;
  }
  const slice = builder.region(rowsRegion(`${partial}.slice`, shape, streamRows(tokens, shape), hiddenSize, 'rows'));
  builder.collective(id, 'intra', { name: 'reduce_scatter', group: 'tp', split: 'tokens' }, [
    read(partial),
    write(slice),
  ]);
  return slice;
}

/** Backward: `gradient` of the layer's output becomes that of its input. */
export function attentionBackward(step: StepShape): Template {
  const shape = moeShape(step);
  const { model, layout } = step;
  const { hiddenSize } = model;
  const activation = activationOf(layout);
  const builder = new TemplateBuilder();
  const rows = streamRows(shape.tokens, shape);
  const all = shape.tokens;
  const { bytes, qkvColumns, contextColumns, qkvFlops, coreFlops, outputFlops } = sizes(step);
  builder.region(streamRegion('gradient', shape));
  for (const region of savedRegions(step, shape)) builder.region(region);
  let gradient = 'gradient';
  if (activation === 'sequence') {
    gradient = builder.region(rowsRegion('gradient.all', shape, all, hiddenSize, 'rows'));
    builder.collective('gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
      read('gradient'),
      write(gradient),
    ]);
  }
  builder.region(rowsRegion('attention.contextGradient', shape, all, contextColumns, 'rows'));
  builder.kernel(
    'output',
    'attention.output.backward',
    work(
      'gemm',
      all,
      { flops: 2 * outputFlops, bytes: 2 * (hiddenSize + contextColumns) * bytes },
      { fixedBytes: 3 * hiddenSize * contextColumns * bytes },
    ),
    [read(gradient), read('attention.context'), write('attention.contextGradient')],
  );
  builder.region(rowsRegion('attention.qkvGradient', shape, all, qkvColumns, 'rows'));
  builder.kernel(
    'core',
    'attention.core.backward',
    work('attention', all, { flops: 2.5 * coreFlops, bytes: 3 * (qkvColumns + contextColumns) * bytes }),
    [
      read('attention.contextGradient'),
      read('attention.queryKeyValue'),
      read('attention.logSumExp'),
      read('attention.context'),
      write('attention.qkvGradient'),
    ],
  );
  if (model.qkNorm === 'allHeads') {
    builder.region({ id: 'attention.dots', dtype: 'f32', rows: all, columns: 2, order: 'rows', life: 'layer' });
    builder.kernel('dots', 'attention.dots.backward', work('memory', all, { bytes: 2 * qkvColumns * bytes }), [
      add('attention.qkvGradient'),
      read('attention.rawQueryKey'),
      write('attention.dots'),
    ]);
    if (layout.tp > 1)
      builder.collective('dots.reduce', 'intra', { name: 'all_reduce', group: 'tp' }, [add('attention.dots')]);
  }
  builder.kernel('rotate', 'attention.rotate.backward', work('memory', all, { bytes: 2 * qkvColumns * bytes }), [
    add('attention.qkvGradient'),
    ...(model.qkNorm === 'none' ? [] : [read('attention.rawQueryKey')]),
    ...(model.qkNorm === 'allHeads' ? [read('attention.squares'), read('attention.dots')] : []),
  ]);
  builder.region(rowsRegion('attention.normedGradient', shape, all, hiddenSize, 'rows'));
  builder.kernel(
    'project',
    'attention.project.backward',
    work(
      'gemm',
      all,
      { flops: 2 * qkvFlops, bytes: 2 * (hiddenSize + qkvColumns) * bytes },
      { fixedBytes: 3 * hiddenSize * qkvColumns * bytes },
    ),
    [read('attention.qkvGradient'), read('attention.normed'), write('attention.normedGradient')],
  );
  const reduced = reducePartial(builder, shape, 'attention.normedGradient', 'reduce');
  builder.kernel('norm', 'attention.norm.backward', work('memory', rows, { bytes: 5 * hiddenSize * bytes }), [
    read(reduced),
    read('attention.input'),
    add('gradient'),
  ]);
  return builder.build('attention.backward', activation, activation);
}
