/** The model's two ends, and what stands between layers: norm, residual. `tokens` is planar: T ids, then T targets. */
import { sliceLength, sliceStart } from '@monta/core/schedule';
import type { KernelName } from '@monta/core';
import { lossSlot } from '../../loss-slots.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import {
  cudaCrossEntropyGradient,
  cudaCrossEntropyMax,
  cudaCrossEntropySums,
  cudaEmbeddingBackward,
  cudaEmbeddingForward,
} from '../operations/tokens.js';
import type { Address } from '../bindings/index.js';
import { elementSize } from '../operations/launcher.js';
import type { CudaCallOf, CudaCatalogue } from './call.js';
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

/** fp32 values in the type that the launch computes in. */
function narrowed(call: CudaCallOf<'head.logits.backward'>, from: Address, count: number): Address {
  if (call.storage === 'f32') return from;
  const to = call.scratch(Math.ceil((count * elementSize(call.storage)) / elementSize('f32')));
  call.on.launch('update', 'narrow', { blocks: Math.ceil(count / threads), threads }, { from, to, count });
  return to;
}

export const endKernels: CudaCatalogue<EndKernel> = {
  norm: (call) => {
    const [rows, width] = [call.rows('stream'), call.columns('stream')];
    if (call.has('kept')) copyView(call.context, call.operand('stream').view, call.operand('kept').view, call.stream);
    const arrays = { x: call.real('stream'), weight: call.real('weight'), y: call.real('normed') };
    const shape = { rows, width, epsilon: call.arguments.epsilon };
    cudaNormForward(call.on, shape, { inverseRms: call.scratch(rows), ...arrays });
  },
  'norm.backward': (call) => {
    const { epsilon, accumulate: addDx } = call.arguments;
    const [rows, width] = [call.rows('kept'), call.columns('kept')];
    const shape = { rows, width, epsilon };
    const arrays = { x: call.real('kept'), weight: call.real('weight'), inverseRms: call.scratch(rows) };
    // The inverse is not kept: the forward once more, its output thrown away.
    cudaNormForward(call.on, shape, { ...arrays, y: call.scratch(rows * width) });
    cudaNormBackward(call.on, shape, {
      ...arrays,
      dy: call.real('normedGradient'),
      dx: call.real('gradient'),
      dweight: call.f32('weightGradient'),
      scratch: call.scratch(normScratch(shape)),
      addDx,
    });
  },
  'residual.add': (call) => {
    const count = call.operand('to').view.length;
    const grid = { blocks: Math.ceil(count / threads), threads };
    call.on.launch('update', 'add_into', grid, { from: call.real('from'), to: call.real('to'), count });
  },
  embedding: (call) => {
    const { vocabulary, tp } = call.arguments;
    const shape = { tokens: call.rows('tokens'), hidden: call.columns('weight'), ...share(vocabulary, tp) };
    const arrays = { ids: call.i32('tokens'), weight: call.real('weight'), out: call.real('embedded') };
    cudaEmbeddingForward(call.on, shape, arrays);
  },
  'embedding.backward': (call) => {
    const { vocabulary, tp, step } = call.arguments;
    const shape = { tokens: call.rows('tokens'), hidden: call.columns('gradient'), ...share(vocabulary, tp) };
    const arrays = { ids: call.i32('tokens'), dout: call.real('gradient'), dweight: call.f32('weightGradient') };
    cudaEmbeddingBackward(call.on, { paddingId: step.paddingId, ...shape }, arrays);
  },
  'head.logits': (call) => {
    const size = { rows: call.rows('normed'), inputs: call.columns('normed'), outputs: call.rows('weight') };
    const arrays = { x: call.real('normed'), weight: call.real('weight'), y: call.f32('logits') };
    linear(call, size, { ...arrays, output: 'f32' });
  },
  'head.max': (call) => {
    const shape = { rows: call.rows('logits'), ...share(call.arguments.vocabulary, call.arguments.tp) };
    cudaCrossEntropyMax(call.on, shape, call.f32('logits'), call.f32('max'));
  },
  'head.sums': (call) => {
    const shape = { rows: call.rows('logits'), ...share(call.arguments.vocabulary, call.arguments.tp) };
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
    const shape = { rows: call.rows('logits'), ...share(vocabulary, tp) };
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
    const dy = narrowed(call, call.f32('logits'), size.rows * size.outputs);
    linearInputGradient(call, size, { dy, weight: call.real('weight'), dx: call.real('normedGradient') });
    linearWeightGradient(call, size, { dy, x: call.real('normed'), dweight: call.f32('weightGradient') });
  },
};
