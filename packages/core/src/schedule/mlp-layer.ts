/** The dense feed-forward layer (layers without experts) as templates: norm, column-parallel gate and up, row-parallel down. */
import { gatheredGradient, gatherTokens, reducePartial } from './attention-layer.js';
import { activationOf, dtypeBytes, rowsRegion } from './moe-shape.js';
import { streamRegion, streamRows } from './moe-parts.js';
import { gradient, normShape, weight, type SlotShape } from './parameter-regions.js';
import type { Region, Template } from './schedule.js';
import { moeShape, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';
import { feedForwardParts, inputGradientParts, matrixWork, memoryWork, weightGradientParts } from './work.js';

function setUp(step: StepShape) {
  const shape = moeShape(step);
  const rows = streamRows(shape.tokens, shape);
  const ffn = step.model.denseFfn / step.layout.tp;
  const { hiddenSize } = step.model;
  const saved: Region[] = [
    rowsRegion('mlp.input', shape, rows, hiddenSize, 'rows', 'saved'),
    rowsRegion('mlp.normed', shape, shape.tokens, hiddenSize, 'rows', 'saved'),
    rowsRegion('mlp.gateUp', shape, shape.tokens, 2 * ffn, 'rows', 'saved'),
  ];
  const builder = new TemplateBuilder();
  for (const region of saved) builder.region(region);
  const slots = {
    gate: { slot: 'mlp.gate', rows: ffn, columns: hiddenSize },
    up: { slot: 'mlp.up', rows: ffn, columns: hiddenSize },
    down: { slot: 'mlp.down', rows: hiddenSize, columns: ffn },
  } as const satisfies Record<string, SlotShape>;
  const weightOf = (of: SlotShape) => weight(builder, shape.dtype, of);
  return {
    shape,
    rows,
    ffn,
    hiddenSize,
    builder,
    slots,
    weightOf,
    weights: () => ({ gate: weightOf(slots.gate), up: weightOf(slots.up), down: weightOf(slots.down) }),
    layerNorm: normShape('feedForward.norm', hiddenSize),
    epsilon: step.model.rmsNormEps,
    bytes: dtypeBytes[step.dtype],
    activation: activationOf(step.layout),
  };
}

export function mlpForward(step: StepShape): Template {
  const { shape, rows, ffn, hiddenSize, builder, bytes, activation, ...s } = setUp(step);
  builder.region(streamRegion('stream', shape));
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion('mlp.normed.slice', shape, rows, hiddenSize, 'rows'))
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
  builder.region(rowsRegion('mlp.output', shape, shape.tokens, hiddenSize, 'rows'));
  builder.region(rowsRegion('mlp.activated', shape, shape.tokens, ffn, 'rows'));
  builder.kernel({
    id: 'mlp',
    kernel: 'mlp',
    operands: {
      normed: read('mlp.normed'),
      ...s.weights(),
      gateUp: write('mlp.gateUp'),
      activated: write('mlp.activated'),
      output: write('mlp.output'),
    },
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: 6 * hiddenSize * ffn,
      bytesPerRow: (2 * hiddenSize + 5 * ffn) * bytes,
      fixedBytes: 3 * hiddenSize * ffn * bytes,
      parts: feedForwardParts({ hiddenSize, ffn, elementBytes: bytes }),
    }),
  });
  const output = reducePartial(builder, shape, 'mlp.output', 'reduce');
  builder.kernel({
    id: 'residual',
    kernel: 'residual.add',
    operands: { from: read(output), to: add('stream') },
    work: memoryWork('add', 3 * hiddenSize * bytes, { rows }),
  });
  return builder.build('mlp.forward', activation, activation);
}

export function mlpBackward(step: StepShape): Template {
  const { shape, rows, ffn, hiddenSize, builder, bytes, activation, ...s } = setUp(step);
  const source = gatheredGradient(builder, shape);
  builder.region(rowsRegion('mlp.activated', shape, shape.tokens, ffn, 'rows'));
  builder.region(rowsRegion('mlp.gateUpGradient', shape, shape.tokens, 2 * ffn, 'rows'));
  builder.region(rowsRegion('mlp.normedGradient', shape, shape.tokens, hiddenSize, 'rows'));
  builder.kernel({
    id: 'mlp',
    kernel: 'mlp.backward',
    operands: {
      outputGradient: read(source),
      normed: read('mlp.normed'),
      gateUp: read('mlp.gateUp'),
      ...s.weights(),
      activated: write('mlp.activated'),
      gateUpGradient: write('mlp.gateUpGradient'),
      normedGradient: write('mlp.normedGradient'),
      gateGradient: gradient(builder, s.slots.gate),
      upGradient: gradient(builder, s.slots.up),
      downGradient: gradient(builder, s.slots.down),
    },
    work: matrixWork({
      rows: shape.tokens,
      flopsPerRow: 12 * hiddenSize * ffn,
      bytesPerRow: (4 * hiddenSize + 10 * ffn) * bytes,
      fixedBytes: 9 * hiddenSize * ffn * bytes,
      parts: [inputGradientParts, weightGradientParts].flatMap((parts) =>
        parts({ hiddenSize, ffn, elementBytes: bytes }),
      ),
    }),
  });
  const reduced = reducePartial(builder, shape, 'mlp.normedGradient', 'reduce');
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
  return builder.build('mlp.backward', activation, activation);
}
