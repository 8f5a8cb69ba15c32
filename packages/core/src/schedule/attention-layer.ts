/**
 * The attention layer as templates: norm, column-parallel query/key/value (by way of low ranks in latent attention),
 * rotary positions, causal grouped-query attention, row-parallel output. With replicated activations the partial
 * outputs are all-reduced over TP; with sequence parallelism tokens are gathered before and reduce-scattered after
 * (Megatron-LM).
 */
import { setUp, type SetUp } from './attention-parts.js';
import { emitProjection, emitProjectionBackward, emitRotation, emitRotationBackward } from './attention-projections.js';
import { emitLatentProjection, emitLatentProjectionBackward } from './latent-projections.js';
import { rowsRegion } from './moe-shape.js';
import { streamRegion } from './moe-parts.js';
import type { Template } from './schedule.js';
import type { StepShape } from './step-shape.js';
import { gatheredGradient, gatherTokens, reducePartial } from './tensor-parallel.js';
import { add, read, write } from './template-builder.js';
import { matrixWork, memoryWork } from './work.js';

/** Forward: adds attention's output to `stream`. */
export function attentionForward(step: StepShape): Template {
  const s = setUp(step);
  const { builder, shape, activation, rows, hiddenSize, bytes } = s;
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
  if (s.latent === undefined) {
    emitProjection(s);
    emitRotation(s, step.layout.tp);
  } else emitLatentProjection(s);
  emitCore(s);
  const output = reducePartial(builder, shape, 'attention.output', 'reduce');
  builder.kernel({
    id: 'residual',
    kernel: 'residual.add',
    operands: { from: read(output), to: add('stream') },
    work: memoryWork('add', 3 * hiddenSize * bytes, { rows }),
  });
  return builder.buildPass({ block: 'attention', pass: 'forward' }, activation);
}

/** Attention over the projected rows, and the projection of what it found. */
function emitCore(s: SetUp): void {
  const { builder, shape, hiddenSize, bytes, qkvColumns, contextColumns } = s;
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
        { kind: 'product', columns: hiddenSize, depth: contextColumns, gradient: 'added' },
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

/** Backward: `gradient` of the layer's output becomes that of its input. */
export function attentionBackward(step: StepShape): Template {
  const s = setUp(step);
  const { builder, shape, activation, rows, hiddenSize, bytes } = s;
  emitCoreBackward(s, gatheredGradient(builder, shape));
  if (s.latent === undefined) {
    emitRotationBackward(s, step.layout.tp);
    emitProjectionBackward(s);
  } else emitLatentProjectionBackward(s);
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
  return builder.buildPass({ block: 'attention', pass: 'backward' }, activation);
}
