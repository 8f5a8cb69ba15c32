/** The model's two ends, and what stands between layers: norm, residual. `tokens` is planar: T ids, then T targets. */
import { sliceLength, sliceStart, type KernelName } from '@monta/core';
import { lossSlot } from '../../loss-slots.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import {
  cudaCrossEntropyGradient,
  cudaCrossEntropyMax,
  cudaCrossEntropySums,
  cudaEmbeddingBackward,
  cudaEmbeddingForward,
} from '../operations/tokens.js';
import type { CudaCatalogue } from './call.js';
import { linear, linearInputGradient, linearWeightGradient } from './linear.js';
import { copyView } from './memory-kernels.js';

type EndKernel = Extract<
  KernelName,
  `head.${string}` | 'embedding' | 'embedding.backward' | 'residual.add' | 'norm' | 'norm.backward'
>;

/** This rank's rows of the vocabulary. */
const share = (vocabulary: number, { index, size }: { index: number; size: number }) => ({
  first: sliceStart(vocabulary, index, size),
  count: sliceLength(vocabulary, index, size),
});

const threads = 256;
const lossThreads = 1024;

export const endKernels: CudaCatalogue<EndKernel> = {
  norm: (call) => {
    const [rows, width] = [call.rows('stream'), call.columns('stream')];
    if (call.has('kept')) copyView(call.context, call.operand('stream').view, call.operand('kept').view, call.stream);
    const arrays = { x: call.f32('stream'), weight: call.f32('weight'), y: call.f32('normed') };
    const shape = { rows, width, epsilon: call.arguments.epsilon };
    cudaNormForward(call.on, shape, { ...arrays, inverseRms: call.scratch(rows) });
  },
  'norm.backward': (call) => {
    const { epsilon, accumulate: addDx } = call.arguments;
    const [rows, width] = [call.rows('kept'), call.columns('kept')];
    const shape = { rows, width, epsilon };
    const arrays = { x: call.f32('kept'), weight: call.f32('weight'), inverseRms: call.scratch(rows) };
    // The inverse is not kept: the forward once more, its output thrown away.
    cudaNormForward(call.on, shape, { ...arrays, y: call.scratch(rows * width) });
    cudaNormBackward(call.on, shape, {
      ...arrays,
      dy: call.f32('normedGradient'),
      dx: call.f32('gradient'),
      dweight: call.f32('weightGradient'),
      scratch: call.scratch(normScratch(shape)),
      addDx,
    });
  },
  'residual.add': (call) => {
    const count = call.operand('to').view.length;
    const grid = { blocks: Math.ceil(count / threads), threads };
    call.on.launch('update', 'add_into', grid, { from: call.f32('from'), to: call.f32('to'), count });
  },
  embedding: (call) => {
    const { vocabulary, tp } = call.arguments;
    const shape = { ...share(vocabulary, tp), tokens: call.rows('tokens'), hidden: call.columns('weight') };
    const arrays = { ids: call.i32('tokens'), weight: call.f32('weight'), out: call.f32('embedded') };
    cudaEmbeddingForward(call.on, shape, arrays);
  },
  'embedding.backward': (call) => {
    const { vocabulary, tp, step } = call.arguments;
    const shape = { ...share(vocabulary, tp), tokens: call.rows('tokens'), hidden: call.columns('gradient') };
    const arrays = { ids: call.i32('tokens'), dout: call.f32('gradient'), dweight: call.f32('weightGradient') };
    cudaEmbeddingBackward(call.on, { ...shape, paddingId: step.paddingId }, arrays);
  },
  'head.logits': (call) => {
    const size = { rows: call.rows('normed'), inputs: call.columns('normed'), outputs: call.rows('weight') };
    linear({ products: call, shape: size, x: call.f32('normed'), weight: call.f32('weight'), y: call.f32('logits') });
  },
  'head.max': (call) => {
    const shape = { ...share(call.arguments.vocabulary, call.arguments.tp), rows: call.rows('logits') };
    cudaCrossEntropyMax(call.on, shape, call.f32('logits'), call.f32('max'));
  },
  'head.sums': (call) => {
    const shape = { ...share(call.arguments.vocabulary, call.arguments.tp), rows: call.rows('logits') };
    cudaCrossEntropySums(call.on, shape, {
      logits: call.f32('logits'),
      targets: call.i32('tokens', call.rows('tokens')),
      largest: call.f32('max'),
      sums: call.f32('sums'),
    });
  },
  'head.loss': (call) => {
    const { pooledTokens, microBatches, ranks, tp } = call.arguments;
    call.on.launch(
      'cross-entropy',
      'head_loss',
      { blocks: 1, threads: lossThreads },
      {
        targets: call.i32('tokens', call.rows('tokens')),
        sums: call.f32('sums'),
        statistics: call.f32('statistics'),
        crossEntropy: call.f32('loss', lossSlot.crossEntropy),
        counted: call.f32('loss', lossSlot.targets),
        auxiliary: call.f32('loss', lossSlot.auxiliary),
        rows: call.rows('tokens'),
        experts: call.operand('statistics').view.length / 2,
        tpSize: tp.size,
        pooledTokens,
        auxiliaryShare: 1 / ranks / microBatches,
      },
    );
  },
  'head.softmax.backward': (call) => {
    const { vocabulary, tp, step } = call.arguments;
    const shape = { ...share(vocabulary, tp), rows: call.rows('logits') };
    const logits = call.f32('logits');
    const arrays = {
      logits,
      targets: call.i32('tokens', call.rows('tokens')),
      largest: call.f32('max'),
      sums: call.f32('sums'),
      dlogits: logits,
    };
    cudaCrossEntropyGradient(call.on, shape, arrays, 1 / step.targets);
  },
  'head.logits.backward': (call) => {
    const size = { rows: call.rows('normed'), inputs: call.columns('normed'), outputs: call.rows('weight') };
    const dy = call.f32('logits');
    linearInputGradient(call, size, { dy, weight: call.f32('weight'), dx: call.f32('normedGradient') });
    linearWeightGradient(call, size, { dy, x: call.f32('normed'), dweight: call.f32('weightGradient') });
  },
};
