/**
 * The dense feed-forward layer (layers without experts) as templates: norm, column-parallel gate and up, row-parallel
 * down.
 */
import { gatheredGradient, gatherTokens, reducePartial } from './tensor-parallel.js';
import { emitFeedForward, emitFeedForwardBackward, type FeedForwardBlock } from './feed-forward.js';
import { activationOf, dtypeBytes, rowsRegion } from './moe-shape.js';
import { streamRegion, streamRows } from './moe-parts.js';
import { gradient, normShape, weight, type SlotShape } from './parameter-regions.js';
import type { Template } from './schedule.js';
import { moeShape, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';
import { memoryWork } from './work.js';

function setUp(step: StepShape) {
  const shape = moeShape(step);
  const rows = streamRows(shape.tokens, shape);
  const { hiddenSize } = step.model;
  const builder = new TemplateBuilder();
  builder.region(rowsRegion({ id: 'mlp.input', shape, rows, columns: hiddenSize, order: 'rows', life: 'saved' }));
  const normed = builder.region(
    rowsRegion({ id: 'mlp.normed', shape, rows: shape.tokens, columns: hiddenSize, order: 'rows', life: 'saved' }),
  );
  const block: FeedForwardBlock = {
    builder,
    block: 'mlp',
    tokens: shape.tokens,
    hiddenSize,
    ffn: step.model.denseFfn / step.layout.tp,
    dtype: step.dtype,
    normed,
  };
  return {
    shape,
    rows,
    hiddenSize,
    builder,
    block,
    weightOf: (of: SlotShape) => weight(builder, shape.dtype, of),
    layerNorm: normShape('feedForward.norm', hiddenSize),
    epsilon: step.model.rmsNormEps,
    bytes: dtypeBytes[step.dtype],
    activation: activationOf(step.layout),
  };
}

export function mlpForward(step: StepShape): Template {
  const { shape, rows, hiddenSize, builder, block, bytes, activation, ...s } = setUp(step);
  builder.region(streamRegion('stream', shape));
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion({ id: 'mlp.normed.slice', shape, rows, columns: hiddenSize, order: 'rows' }))
    : 'mlp.normed';
  builder.kernel({
    id: 'norm',
    kernel: 'norm',
    operands: {
      stream: read('stream'),
      weight: s.weightOf(s.layerNorm),
      kept: write('mlp.input'),
      normed: write(normed),
    },
    arguments: { epsilon: s.epsilon },
    work: memoryWork('norm', 3 * hiddenSize * bytes, { rows }),
  });
  if (sliced) gatherTokens(builder, normed, 'mlp.normed');
  const output = reducePartial(builder, shape, emitFeedForward(block), 'reduce');
  builder.kernel({
    id: 'residual',
    kernel: 'residual.add',
    operands: { from: read(output), to: add('stream') },
    work: memoryWork('add', 3 * hiddenSize * bytes, { rows }),
  });
  return builder.buildPass({ block: 'mlp', pass: 'forward' }, activation);
}

export function mlpBackward(step: StepShape): Template {
  const { shape, rows, hiddenSize, builder, block, bytes, activation, ...s } = setUp(step);
  const partial = emitFeedForwardBackward(block, gatheredGradient(builder, shape));
  const reduced = reducePartial(builder, shape, partial, 'reduce');
  builder.kernel({
    id: 'norm',
    kernel: 'norm.backward',
    operands: {
      normedGradient: read(reduced),
      kept: read('mlp.input'),
      weight: s.weightOf(s.layerNorm),
      gradient: add('gradient'),
      weightGradient: gradient(builder, s.layerNorm),
    },
    arguments: { epsilon: s.epsilon, accumulate: true },
    work: memoryWork('norm', 5 * hiddenSize * bytes, { rows }),
  });
  return builder.buildPass({ block: 'mlp', pass: 'backward' }, activation);
}
