/** Kernels of the model's two ends: embedding, head and loss. `tokens` is planar: T ids, then T targets. */
import { sliceLength, sliceStart } from '@monta/core/schedule';
import { auxiliaryLoss } from '../../../moe/index.js';
import {
  crossEntropyGrad,
  crossEntropyLoss,
  crossEntropyMax,
  crossEntropySums,
  embeddingBackward,
  embeddingForward,
  ignoredLabel,
  linearForward,
  linearInputGrad,
  linearWeightGrad,
  type VocabularyShare,
} from '../../../transformer/index.js';
import { lossSlot } from '../../loss-slots.js';
import type { CatalogueKernels, CpuKernelCall } from '../kernel-call.js';

/** This rank's rows of the vocabulary. */
const share = (vocabulary: number, { index, size }: { index: number; size: number }): VocabularyShare => ({
  first: sliceStart(vocabulary, index, size),
  count: sliceLength(vocabulary, index, size),
});

/** Any call with token ids and targets. */
type TokenCall = Pick<CpuKernelCall<'tokens'>, 'i32' | 'rows'>;
const ids = (call: TokenCall): Int32Array => call.i32('tokens').subarray(0, call.rows('tokens'));
const targets = (call: TokenCall): Int32Array => call.i32('tokens').subarray(call.rows('tokens'));

/** The rank's own logits, dense at the start of the region. */
const logits = (call: Pick<CpuKernelCall<'logits'>, 'f32' | 'rows'>, count: number): Float32Array =>
  call.f32('logits').subarray(0, call.rows('logits') * count);

type EndKernel =
  | 'embedding'
  | 'embedding.backward'
  | 'head.sums'
  | 'head.loss'
  | 'head.softmax.backward'
  | 'residual.add'
  | 'head.logits'
  | 'head.max'
  | 'head.logits.backward';

export const endKernels: CatalogueKernels<EndKernel> = {
  'residual.add': (call) => {
    const [from, to] = [call.f32('from'), call.f32('to')];
    for (let i = 0; i < to.length; i++) to[i] = to[i] + from[i];
  },
  embedding: (call) => {
    const { vocabulary, tp } = call.arguments;
    embeddingForward({
      share: share(vocabulary, tp),
      hidden: call.columns('weight'),
      ids: ids(call),
      weight: call.f32('weight'),
      out: call.f32('embedded'),
    });
  },
  'embedding.backward': (call) => {
    const { vocabulary, tp, step } = call.arguments;
    const [gradient, weightGradient] = [call.f32('gradient'), call.f32('weightGradient')];
    const hidden = call.columns('gradient');
    embeddingBackward({
      share: share(vocabulary, tp),
      hidden,
      ids: ids(call),
      dout: gradient,
      dweight: weightGradient,
      paddingId: step.paddingId,
    });
  },
  'head.logits': (call) => {
    const size = { rows: call.rows('normed'), inputs: call.columns('normed'), outputs: call.rows('weight') };
    linearForward({
      gemm: call.gemm,
      shape: size,
      x: call.f32('normed'),
      weight: call.f32('weight'),
      y: logits(call, size.outputs),
    });
  },
  'head.max': (call) => {
    const of = share(call.arguments.vocabulary, call.arguments.tp);
    crossEntropyMax(of, call.rows('logits'), logits(call, of.count), call.f32('max'));
  },
  'head.sums': (call) => {
    const of = share(call.arguments.vocabulary, call.arguments.tp);
    const own = logits(call, of.count);
    crossEntropySums({
      share: of,
      rows: call.rows('logits'),
      logits: own,
      targets: targets(call),
      largest: call.f32('max'),
      sums: call.f32('sums'),
    });
  },
  'head.loss': (call) => {
    const { pooledTokens, microBatches, ranks, tp } = call.arguments;
    const loss = call.f32('loss');
    const counted = targets(call);
    loss[lossSlot.crossEntropy] += crossEntropyLoss(call.rows('sums'), counted, call.f32('sums')) / tp.size;
    loss[lossSlot.targets] += counted.reduce((n, target) => n + (target === ignoredLabel ? 0 : 1), 0) / tp.size;
    const statistics = call.f32('statistics');
    const experts = statistics.length / 2;
    loss[lossSlot.auxiliary] +=
      auxiliaryLoss(statistics.subarray(0, experts), statistics.subarray(experts), pooledTokens) / ranks / microBatches;
  },
  'head.softmax.backward': (call) => {
    const { vocabulary, tp, step } = call.arguments;
    const of = share(vocabulary, tp);
    const own = logits(call, of.count);
    const scale = 1 / step.targets;
    crossEntropyGrad({
      share: of,
      rows: call.rows('logits'),
      logits: own,
      targets: targets(call),
      largest: call.f32('max'),
      sums: call.f32('sums'),
      scale,
      dlogits: own,
    });
  },
  'head.logits.backward': (call) => {
    const size = { rows: call.rows('normed'), inputs: call.columns('normed'), outputs: call.rows('weight') };
    const own = logits(call, size.outputs);
    linearInputGrad({
      gemm: call.gemm,
      shape: size,
      dy: own,
      weight: call.f32('weight'),
      dx: call.f32('normedGradient'),
    });
    linearWeightGrad({
      gemm: call.gemm,
      shape: size,
      dy: own,
      x: call.f32('normed'),
      dweight: call.f32('weightGradient'),
    });
  },
};
