/**
 * The two ends of the model as templates: vocabulary-parallel embedding, and the head: final norm, vocabulary-parallel logits, cross entropy
 * and the statistics of the auxiliary loss, reduced over all ranks before they are multiplied (averaging the ranks' own losses is wrong).
 * TP rank i holds vocabulary rows floor(V*i/tp)..floor(V*(i+1)/tp).
 */
import { reducePartial } from './attention-layer.js';
import { activationOf, dtypeBytes, rowsRegion, work } from './moe-shape.js';
import { statisticsRegion, streamRegion, streamRows } from './moe-parts.js';
import type { Region, Template } from './schedule.js';
import { moeShape, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';

/** Token ids and targets of the micro-batch, i32, T ids and then T targets, filled by the host; targets of -100 are ignored. */
export const tokensRegion = (tokens: number): Region => ({
  id: 'tokens',
  dtype: 'i32',
  rows: tokens,
  columns: 2,
  order: 'rows',
  life: 'step',
});

/** Cross entropy (sum), targets counted, auxiliary loss, sum of squares of the gradients: [1, 4] f32, summed over the world by the update. */
export const lossRegion: Region = { id: 'loss', dtype: 'f32', rows: 1, columns: 4, order: 'rows', life: 'step' };

export function embeddingForward(step: StepShape): Template {
  const shape = moeShape(step);
  const builder = new TemplateBuilder();
  const activation = activationOf(step.layout);
  const bytes = step.model.hiddenSize * dtypeBytes[step.dtype];
  builder.region(tokensRegion(shape.tokens));
  builder.region(streamRegion('stream', shape));
  builder.region(statisticsRegion(step.model.experts));
  if (step.layout.tp === 1) {
    builder.kernel('embed', 'embedding', work('memory', shape.tokens, { bytes: 2 * bytes }), [
      read('tokens'),
      write('stream'),
      write('router.statistics'),
    ]);
    return builder.build('embedding.forward', activation, activation);
  }
  builder.region(rowsRegion('embedded', shape, shape.tokens, step.model.hiddenSize, 'rows'));
  builder.kernel('embed', 'embedding', work('memory', shape.tokens, { bytes: 2 * bytes }), [
    read('tokens'),
    write('embedded'),
    write('router.statistics'),
  ]);
  const reduced = reducePartial(builder, shape, 'embedded', 'reduce');
  builder.kernel('copy', 'copy', work('memory', streamRows(shape.tokens, shape), { bytes: 2 * bytes }), [
    read(reduced),
    write('stream'),
  ]);
  return builder.build('embedding.forward', activation, activation);
}

export function embeddingBackward(step: StepShape): Template {
  const shape = moeShape(step);
  const builder = new TemplateBuilder();
  const activation = activationOf(step.layout);
  const { hiddenSize } = step.model;
  builder.region(tokensRegion(shape.tokens));
  builder.region(streamRegion('gradient', shape));
  let gradient = 'gradient';
  if (activation === 'sequence') {
    gradient = builder.region(rowsRegion('gradient.all', shape, shape.tokens, hiddenSize, 'rows'));
    builder.collective('gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
      read('gradient'),
      write(gradient),
    ]);
  }
  builder.kernel(
    'embed',
    'embedding.backward',
    work('memory', shape.tokens, { bytes: 3 * hiddenSize * dtypeBytes[step.dtype] }),
    [read('tokens'), read(gradient)],
  );
  return builder.build('embedding.backward', activation, activation);
}

function headRegions(step: StepShape): Region[] {
  const shape = moeShape(step);
  const { hiddenSize, vocabSize } = step.model;
  const rows = streamRows(shape.tokens, shape);
  return [
    rowsRegion('head.input', shape, rows, hiddenSize, 'rows', 'saved'),
    rowsRegion('head.normed', shape, shape.tokens, hiddenSize, 'rows', 'saved'),
    {
      ...rowsRegion('head.logits', shape, shape.tokens, Math.ceil(vocabSize / step.layout.tp), 'rows', 'saved'),
      dtype: 'f32',
    },
    { id: 'head.max', dtype: 'f32', rows: shape.tokens, columns: 1, order: 'rows', life: 'saved' },
    { id: 'head.sums', dtype: 'f32', rows: shape.tokens, columns: 2, order: 'rows', life: 'saved' },
    tokensRegion(shape.tokens),
  ];
}

/** Final norm, logits, loss. */
export function headForward(step: StepShape): Template {
  const shape = moeShape(step);
  const { layout, model } = step;
  const { hiddenSize } = model;
  const builder = new TemplateBuilder();
  const activation = activationOf(layout);
  const bytes = dtypeBytes[step.dtype];
  const rows = streamRows(shape.tokens, shape);
  const vocabulary = model.vocabSize / layout.tp;
  builder.region(streamRegion('stream', shape));
  for (const region of headRegions(step)) builder.region(region);
  builder.region(lossRegion);
  builder.region(statisticsRegion(model.experts));
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion('head.normed.slice', shape, rows, hiddenSize, 'rows'))
    : 'head.normed';
  builder.kernel('norm', 'head.norm', work('memory', rows, { bytes: 3 * hiddenSize * bytes }), [
    read('stream'),
    write('head.input'),
    write(normed),
  ]);
  if (sliced)
    builder.collective('gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
      read(normed),
      write('head.normed'),
    ]);
  builder.kernel(
    'logits',
    'head.logits',
    work(
      'gemm',
      shape.tokens,
      { flops: 2 * hiddenSize * vocabulary, bytes: hiddenSize * bytes + 4 * vocabulary },
      { fixedBytes: hiddenSize * vocabulary * bytes },
    ),
    [read('head.normed'), write('head.logits')],
  );
  builder.kernel('max', 'head.max', work('memory', shape.tokens, { bytes: 4 * vocabulary }), [
    read('head.logits'),
    write('head.max'),
  ]);
  if (layout.tp > 1)
    builder.collective('max.reduce', 'intra', { name: 'all_reduce', group: 'tp', reduction: 'max' }, [add('head.max')]);
  builder.kernel('sums', 'head.sums', work('memory', shape.tokens, { bytes: 4 * vocabulary }), [
    read('head.logits'),
    read('head.max'),
    read('tokens'),
    write('head.sums'),
  ]);
  if (layout.tp > 1)
    builder.collective('sums.reduce', 'intra', { name: 'all_reduce', group: 'tp' }, [add('head.sums')]);
  // Every rank counts its own slice's picks, so the dense group's sum counts each token once.
  if (layout.tp * layout.dp * layout.cp > 1)
    builder.collective('statistics.reduce', 'inter', { name: 'all_reduce', group: 'dense' }, [
      add('router.statistics'),
    ]);
  builder.kernel('loss', 'head.loss', work('memory', shape.tokens, { bytes: 16 }), [
    read('head.sums'),
    read('tokens'),
    read('head.max'),
    read('router.statistics'),
    add('loss'),
  ]);
  return builder.build('head.forward', activation, activation);
}

/** Gradient of the loss with respect to the stream, into `gradient`. */
export function headBackward(step: StepShape): Template {
  const shape = moeShape(step);
  const { layout, model } = step;
  const { hiddenSize } = model;
  const builder = new TemplateBuilder();
  const activation = activationOf(layout);
  const bytes = dtypeBytes[step.dtype];
  const vocabulary = model.vocabSize / layout.tp;
  builder.region(streamRegion('gradient', shape));
  for (const region of headRegions(step)) builder.region(region);
  builder.region(rowsRegion('head.normedGradient', shape, shape.tokens, hiddenSize, 'rows'));
  builder.kernel('softmax', 'head.softmax.backward', work('memory', shape.tokens, { bytes: 8 * vocabulary }), [
    add('head.logits'),
    read('head.max'),
    read('head.sums'),
    read('tokens'),
  ]);
  builder.kernel(
    'logits',
    'head.logits.backward',
    work(
      'gemm',
      shape.tokens,
      { flops: 4 * hiddenSize * vocabulary, bytes: 2 * hiddenSize * bytes + 8 * vocabulary },
      { fixedBytes: 3 * hiddenSize * vocabulary * bytes },
    ),
    [read('head.logits'), read('head.normed'), write('head.normedGradient')],
  );
  const reduced = reducePartial(builder, shape, 'head.normedGradient', 'reduce');
  builder.kernel(
    'norm',
    'head.norm.backward',
    work('memory', streamRows(shape.tokens, shape), { bytes: 5 * hiddenSize * bytes }),
    [read(reduced), read('head.input'), write('gradient')],
  );
  return builder.build('head.backward', activation, activation);
}
