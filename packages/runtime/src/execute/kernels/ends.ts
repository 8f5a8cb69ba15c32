/** Kernels of the model's two ends: embedding, head and loss. The region `tokens` is planar: T ids, then T targets. */
import { auxiliaryLoss } from '../../moe/index.js';
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
} from '../../transformer/index.js';
import type { KernelCall, KernelRegistry } from '../kernel.js';
import type { TrainingContext } from './context.js';
import { finalNorm, normBackward, normForward } from './norms.js';

/** Slots of the region `loss`; each is divided so that the sum over all ranks of the job is what the name says. */
export const lossSlot = { crossEntropy: 0, targets: 1, auxiliary: 2, squares: 3 } as const;

export function endKernels(context: TrainingContext): KernelRegistry {
  const { model, step, tokens, gemm, parameters, vocabulary } = context;
  const h = model.hiddenSize;
  const embedding = 'model.embed_tokens.weight';
  const output = model.tieEmbeddings ? embedding : 'lm_head.weight';
  const ids = (call: KernelCall): Int32Array => call.ints('tokens').subarray(0, tokens);
  const targets = (call: KernelCall): Int32Array => call.ints('tokens').subarray(tokens);
  const size = { rows: tokens, inputs: h, outputs: vocabulary.count };
  const logits = (call: KernelCall): Float32Array => call.floats('head.logits').subarray(0, tokens * vocabulary.count);
  return {
    embedding: (call) => {
      embeddingForward(vocabulary, h, ids(call), parameters.get(embedding).weight, call.use(1));
      call.floats('router.statistics').fill(0);
    },
    'embedding.backward': (call) =>
      embeddingBackward(vocabulary, h, ids(call), call.use(1), parameters.get(embedding).gradient, context.paddingId),
    copy: (call) => call.use(1).set(call.use(0)),
    'residual.add': (call) => {
      const [from, to] = [call.use(0), call.use(1)];
      for (let i = 0; i < to.length; i++) to[i] = to[i] + from[i];
    },
    'head.norm': normForward(context, finalNorm),
    'head.norm.backward': normBackward(context, finalNorm),
    'head.logits': (call) =>
      linearForward(gemm, size, call.floats('head.normed'), parameters.get(output).weight, logits(call)),
    'head.max': (call) => crossEntropyMax(vocabulary, tokens, logits(call), call.floats('head.max')),
    'head.sums': (call) =>
      crossEntropySums(
        vocabulary,
        tokens,
        logits(call),
        targets(call),
        call.floats('head.max'),
        call.floats('head.sums'),
      ),
    'head.loss': (call) => {
      const loss = call.floats('loss');
      const { tp } = step.layout;
      loss[lossSlot.crossEntropy] += crossEntropyLoss(tokens, targets(call), call.floats('head.sums')) / tp;
      loss[lossSlot.targets] += targets(call).reduce((n, target) => n + (target === ignoredLabel ? 0 : 1), 0) / tp;
      const statistics = call.floats('router.statistics');
      loss[lossSlot.auxiliary] +=
        auxiliaryLoss(statistics.subarray(0, model.experts), statistics.subarray(model.experts), context.pooledTokens) /
        context.world /
        context.microBatches;
    },
    'head.softmax.backward': (call) =>
      crossEntropyGrad(
        vocabulary,
        tokens,
        logits(call),
        targets(call),
        call.floats('head.max'),
        call.floats('head.sums'),
        1 / context.inputs.targets,
        logits(call),
      ),
    'head.logits.backward': (call) => {
      const { weight, gradient } = parameters.get(output);
      linearInputGrad(gemm, size, logits(call), weight, call.floats('head.normedGradient'));
      linearWeightGrad(gemm, size, logits(call), call.floats('head.normed'), gradient);
    },
  };
}
