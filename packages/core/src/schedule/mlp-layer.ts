/** The dense feed-forward layer (layers without experts) as templates: norm, column-parallel gate and up, row-parallel down. */
import { reducePartial } from './attention-layer.js';
import { activationOf, dtypeBytes, rowsRegion, work } from './moe-shape.js';
import { streamRegion, streamRows } from './moe-parts.js';
import type { Region, Template } from './schedule.js';
import { moeShape, type StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';

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
  const bytes = dtypeBytes[step.dtype];
  return { shape, rows, ffn, hiddenSize, builder, bytes, activation: activationOf(step.layout) };
}

export function mlpForward(step: StepShape): Template {
  const { shape, rows, ffn, hiddenSize, builder, bytes, activation } = setUp(step);
  builder.region(streamRegion('stream', shape));
  const sliced = activation === 'sequence';
  const normed = sliced
    ? builder.region(rowsRegion('mlp.normed.slice', shape, rows, hiddenSize, 'rows'))
    : 'mlp.normed';
  builder.kernel('norm', 'mlp.norm', work('memory', rows, { bytes: 3 * hiddenSize * bytes }), [
    read('stream'),
    write('mlp.input'),
    write(normed),
  ]);
  if (sliced)
    builder.collective('gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
      read(normed),
      write('mlp.normed'),
    ]);
  builder.region(rowsRegion('mlp.output', shape, shape.tokens, hiddenSize, 'rows'));
  builder.region(rowsRegion('mlp.activated', shape, shape.tokens, ffn, 'rows'));
  builder.kernel(
    'mlp',
    'mlp.forward',
    work(
      'gemm',
      shape.tokens,
      { flops: 6 * hiddenSize * ffn, bytes: (2 * hiddenSize + 5 * ffn) * bytes },
      { fixedBytes: 3 * hiddenSize * ffn * bytes },
    ),
    [read('mlp.normed'), write('mlp.gateUp'), write('mlp.activated'), write('mlp.output')],
  );
  const output = reducePartial(builder, shape, 'mlp.output', 'reduce');
  builder.kernel('residual', 'residual.add', work('memory', rows, { bytes: 3 * hiddenSize * bytes }), [
    read(output),
    add('stream'),
  ]);
  return builder.build('mlp.forward', activation, activation);
}

export function mlpBackward(step: StepShape): Template {
  const { shape, rows, ffn, hiddenSize, builder, bytes, activation } = setUp(step);
  builder.region(streamRegion('gradient', shape));
  let gradient = 'gradient';
  if (activation === 'sequence') {
    gradient = builder.region(rowsRegion('gradient.all', shape, shape.tokens, hiddenSize, 'rows'));
    builder.collective('gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
      read('gradient'),
      write(gradient),
    ]);
  }
  builder.region(rowsRegion('mlp.activated', shape, shape.tokens, ffn, 'rows'));
  builder.region(rowsRegion('mlp.gateUpGradient', shape, shape.tokens, 2 * ffn, 'rows'));
  builder.region(rowsRegion('mlp.normedGradient', shape, shape.tokens, hiddenSize, 'rows'));
  builder.kernel(
    'mlp',
    'mlp.backward',
    work(
      'gemm',
      shape.tokens,
      { flops: 12 * hiddenSize * ffn, bytes: (4 * hiddenSize + 10 * ffn) * bytes },
      { fixedBytes: 9 * hiddenSize * ffn * bytes },
    ),
    [
      read(gradient),
      read('mlp.normed'),
      read('mlp.gateUp'),
      write('mlp.activated'),
      write('mlp.gateUpGradient'),
      write('mlp.normedGradient'),
    ],
  );
  const reduced = reducePartial(builder, shape, 'mlp.normedGradient', 'reduce');
  builder.kernel('norm', 'mlp.norm.backward', work('memory', rows, { bytes: 5 * hiddenSize * bytes }), [
    read(reduced),
    read('mlp.input'),
    add('gradient'),
  ]);
  return builder.build('mlp.backward', activation, activation);
}
