/**
 * The two ends of the model as templates: vocabulary-parallel embedding, and the head: final norm, vocabulary-parallel
 * logits, cross entropy and the statistics of the auxiliary loss, reduced over all ranks before they are multiplied
 * (averaging the ranks' own losses is wrong). TP rank i holds vocabulary rows floor(V*i/tp)..floor(V*(i+1)/tp).
 */
import { gatheredGradient, gatherTokens, reducePartial } from './tensor-parallel.js';
import { activationOf, dtypeBytes, rowsRegion } from './moe-shape.js';
import { statisticsRegion, streamRegion, streamRows } from './moe-parts.js';
import { gradient, normShape, outputSlot, vocabularyShape, weight } from './parameter-regions.js';
import type { Region, Template } from './schedule.js';
import { moeShape, pooledTokens, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';
import { matrixWork, memoryWork } from './work.js';

/**
 * Token ids and targets of the micro-batch, i32, T ids and then T targets, filled by the host; targets of -100 are
 * ignored.
 */
const tokensRegion = (tokens: number): Region => ({
  id: 'tokens',
  dtype: 'i32',
  rows: tokens,
  columns: 2,
  order: 'rows',
  life: 'microBatch',
});

/**
 * Cross entropy (sum), targets counted, auxiliary loss, sum of squares of the gradients: [1, 4] f32, summed over the
 * world by the update.
 */
export const lossRegion: Region = { id: 'loss', dtype: 'f32', rows: 1, columns: 4, order: 'rows', life: 'step' };

/**
 * Picks per expert and sums of probabilities of the last micro-batch over the dense group, for whoever watches the
 * load.
 */
const loadsRegion = (experts: number): Region => ({ ...statisticsRegion(experts), id: 'expert.loads', life: 'step' });

export function embeddingForward(step: StepShape): Template {
  const shape = moeShape(step);
  const { model, layout } = step;
  const builder = new TemplateBuilder();
  const activation = activationOf(layout);
  const bytes = model.hiddenSize * dtypeBytes[step.dtype];
  builder.region(tokensRegion(shape.tokens));
  builder.region(streamRegion('stream', shape));
  builder.region(statisticsRegion(model.experts));
  const alone = layout.tp === 1;
  const embedded = alone
    ? 'stream'
    : builder.region(
        rowsRegion({ id: 'embedded', shape, rows: shape.tokens, columns: model.hiddenSize, order: 'rows' }),
      );
  builder.kernel({
    id: 'statistics',
    kernel: 'fill',
    operands: { to: write('router.statistics') },
    arguments: { value: 0 },
    work: memoryWork('copy', 8 * model.experts, { rows: 1 }),
  });
  builder.kernel({
    id: 'embed',
    kernel: 'embedding',
    operands: {
      tokens: read('tokens'),
      weight: weight(builder, step.dtype, vocabularyShape('embedding', model, layout)),
      embedded: write(embedded),
    },
    arguments: { vocabulary: model.vocabSize },
    work: memoryWork('gather', 2 * bytes, { rows: shape.tokens }),
  });
  if (!alone)
    builder.kernel({
      id: 'copy',
      kernel: 'copy',
      operands: { from: read(reducePartial(builder, shape, embedded, 'reduce')), to: write('stream') },
      work: memoryWork('copy', 2 * bytes, { rows: streamRows(shape.tokens, shape) }),
    });
  return builder.buildPass({ block: 'embedding', pass: 'forward' }, activation);
}

export function embeddingBackward(step: StepShape): Template {
  const shape = moeShape(step);
  const { model, layout } = step;
  const builder = new TemplateBuilder();
  const activation = activationOf(layout);
  builder.region(tokensRegion(shape.tokens));
  builder.kernel({
    id: 'embed',
    kernel: 'embedding.backward',
    operands: {
      tokens: read('tokens'),
      gradient: read(gatheredGradient(builder, shape)),
      weightGradient: gradient(builder, vocabularyShape('embedding', model, layout)),
    },
    arguments: { vocabulary: model.vocabSize },
    work: memoryWork('gather', 3 * model.hiddenSize * dtypeBytes[step.dtype], { rows: shape.tokens }),
  });
  return builder.buildPass({ block: 'embedding', pass: 'backward' }, activation);
}

function headRegions(step: StepShape): Region[] {
  const shape = moeShape(step);
  const { hiddenSize, vocabSize } = step.model;
  const rows = streamRows(shape.tokens, shape);
  return [
    rowsRegion({ id: 'head.input', shape, rows, columns: hiddenSize, order: 'rows', life: 'saved' }),
    rowsRegion({ id: 'head.normed', shape, rows: shape.tokens, columns: hiddenSize, order: 'rows', life: 'saved' }),
    // Room for the widest share of the vocabulary; a rank's own [T, share] is dense at its start.
    {
      ...rowsRegion({
        id: 'head.logits',
        shape,
        rows: shape.tokens,
        columns: Math.ceil(vocabSize / step.layout.tp),
        order: 'rows',
        life: 'saved',
      }),
      dtype: 'f32',
    },
    { id: 'head.max', dtype: 'f32', rows: shape.tokens, columns: 1, order: 'rows', life: 'saved' },
    { id: 'head.sums', dtype: 'f32', rows: shape.tokens, columns: 2, order: 'rows', life: 'saved' },
    tokensRegion(shape.tokens),
  ];
}

function setUpHead(step: StepShape) {
  const shape = moeShape(step);
  const { layout, model } = step;
  const builder = new TemplateBuilder();
  for (const region of headRegions(step)) builder.region(region);
  return {
    shape,
    builder,
    activation: activationOf(layout),
    hiddenSize: model.hiddenSize,
    bytes: dtypeBytes[step.dtype],
    vocabulary: model.vocabSize / layout.tp,
    cut: { vocabulary: model.vocabSize },
    outputWeight: vocabularyShape(outputSlot(model), model, layout),
    norm: normShape('final.norm', model.hiddenSize),
  };
}

type HeadSetUp = ReturnType<typeof setUpHead>;

/** Final norm, logits, loss. */
export function headForward(step: StepShape): Template {
  const s = setUpHead(step);
  const { shape, builder, activation, hiddenSize, bytes, vocabulary } = s;
  const rows = streamRows(shape.tokens, shape);
  builder.region(streamRegion('stream', shape));
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion({ id: 'head.normed.slice', shape, rows, columns: hiddenSize, order: 'rows' }))
    : 'head.normed';
  builder.kernel({
    id: 'norm',
    kernel: 'norm',
    operands: {
      stream: read('stream'),
      weight: weight(builder, step.dtype, s.norm),
      kept: write('head.input'),
      normed: write(normed),
    },
    arguments: { epsilon: step.model.rmsNormEps },
    work: memoryWork('norm', 3 * hiddenSize * bytes, { rows }),
  });
  if (sliced) gatherTokens(builder, normed, 'head.normed');
  builder.kernel({
    id: 'logits',
    kernel: 'head.logits',
    operands: {
      normed: read('head.normed'),
      weight: weight(builder, step.dtype, s.outputWeight),
      logits: write('head.logits'),
    },
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: 2 * hiddenSize * vocabulary,
      bytesPerRow: hiddenSize * bytes + 4 * vocabulary,
      fixedBytes: hiddenSize * vocabulary * bytes,
      parts: [{ kind: 'product', columns: vocabulary, depth: hiddenSize }],
    }),
  });
  emitLoss(s, step);
  return builder.buildPass({ block: 'head', pass: 'forward' }, activation);
}

/** Each token's largest logit and sum of exponentials, over the shares of the vocabulary. */
function emitSums({ builder, shape, vocabulary, cut }: HeadSetUp, tp: number): void {
  builder.kernel({
    id: 'max',
    kernel: 'head.max',
    operands: { logits: read('head.logits'), max: write('head.max') },
    arguments: cut,
    work: memoryWork('loss', 4 * vocabulary, { rows: shape.tokens }),
  });
  if (tp > 1)
    builder.collective({
      id: 'max.reduce',
      lane: 'intra',
      collective: { name: 'all_reduce', group: 'tp', reduction: 'max' },
      operands: { buffer: add('head.max') },
    });
  builder.kernel({
    id: 'sums',
    kernel: 'head.sums',
    operands: {
      logits: read('head.logits'),
      max: read('head.max'),
      tokens: read('tokens'),
      sums: write('head.sums'),
    },
    arguments: cut,
    work: memoryWork('loss', 4 * vocabulary, { rows: shape.tokens }),
  });
  if (tp > 1)
    builder.collective({
      id: 'sums.reduce',
      lane: 'intra',
      collective: { name: 'all_reduce', group: 'tp' },
      operands: { buffer: add('head.sums') },
    });
}

/** Cross entropy over the shares of the vocabulary, and the auxiliary loss from the statistics of all ranks. */
function emitLoss(s: HeadSetUp, step: StepShape): void {
  const { builder, shape } = s;
  const { layout, model } = step;
  const { tp, dp, cp, pp } = layout;
  builder.region(lossRegion);
  builder.region(statisticsRegion(model.experts));
  emitSums(s, layout.tp);
  // Every rank counts its own slice's picks, so the dense group's sum counts each token once.
  if (tp * dp * cp > 1)
    builder.collective({
      id: 'statistics.reduce',
      lane: 'inter',
      collective: { name: 'all_reduce', group: 'dense' },
      operands: { buffer: add('router.statistics') },
    });
  builder.kernel({
    id: 'loads',
    kernel: 'copy',
    operands: { from: read('router.statistics'), to: write(builder.region(loadsRegion(model.experts))) },
    work: memoryWork('copy', 16 * model.experts, { rows: 1 }),
  });
  builder.kernel({
    id: 'loss',
    kernel: 'head.loss',
    operands: {
      sums: read('head.sums'),
      tokens: read('tokens'),
      statistics: read('router.statistics'),
      loss: add('loss'),
    },
    arguments: { pooledTokens: pooledTokens(step), microBatches: step.microBatches, ranks: tp * cp * dp * pp },
    work: memoryWork('loss', 16, { rows: shape.tokens }),
  });
}

/** Gradient of the loss with respect to the stream, into `gradient`. */
export function headBackward(step: StepShape): Template {
  const s = setUpHead(step);
  const { shape, builder, activation, hiddenSize, bytes, vocabulary, norm } = s;
  builder.region(streamRegion('gradient', shape));
  builder.region(
    rowsRegion({ id: 'head.normedGradient', shape, rows: shape.tokens, columns: hiddenSize, order: 'rows' }),
  );
  builder.kernel({
    id: 'softmax',
    kernel: 'head.softmax.backward',
    operands: {
      logits: add('head.logits'),
      max: read('head.max'),
      sums: read('head.sums'),
      tokens: read('tokens'),
    },
    arguments: s.cut,
    work: memoryWork('loss', 8 * vocabulary, { rows: shape.tokens }),
  });
  builder.kernel({
    id: 'logits',
    kernel: 'head.logits.backward',
    operands: {
      logits: read('head.logits'),
      normed: read('head.normed'),
      weight: weight(builder, step.dtype, s.outputWeight),
      normedGradient: write('head.normedGradient'),
      weightGradient: gradient(builder, s.outputWeight),
    },
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: 4 * hiddenSize * vocabulary,
      bytesPerRow: 2 * hiddenSize * bytes + 8 * vocabulary,
      fixedBytes: 3 * hiddenSize * vocabulary * bytes,
      parts: [
        { kind: 'product', columns: hiddenSize, depth: vocabulary },
        { kind: 'product', columns: vocabulary, depth: hiddenSize, gradient: 'added' },
      ],
    }),
  });
  const reduced = reducePartial(builder, shape, 'head.normedGradient', 'reduce');
  builder.kernel({
    id: 'norm',
    kernel: 'norm.backward',
    operands: {
      normedGradient: read(reduced),
      kept: read('head.input'),
      weight: weight(builder, step.dtype, norm),
      gradient: write('gradient'),
      weightGradient: gradient(builder, norm),
    },
    arguments: { epsilon: step.model.rmsNormEps, accumulate: false },
    work: memoryWork('norm', 5 * hiddenSize * bytes, { rows: streamRows(shape.tokens, shape) }),
  });
  return builder.buildPass({ block: 'head', pass: 'backward' }, activation);
}
