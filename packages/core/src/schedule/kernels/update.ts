/** Kernels of the end of a step. */
import { adds, mayAdd, reads, type KernelSpec } from './kernel-spec.js';

export const updateKernels = {
  /** This rank's share of the squares of all gradients, each divided by how many ranks hold it. */
  'update.norm': { roles: { gradients: reads, loss: adds }, bound: ['tensors'] },
  /** `computeWeights`: the copy that kernels compute with, where that is not in f32; it follows the weights. */
  'update.adamw': {
    roles: {
      gradients: reads,
      loss: reads,
      weights: adds,
      firstMoments: adds,
      secondMoments: adds,
      computeWeights: mayAdd,
    },
    bound: ['step', 'tensors'],
  },
  /**
   * Moves each selection bias by `rate` towards balance, from the picks that lie where its gradient would:
   * DeepSeek-V3's auxiliary-loss-free balancing (arXiv 2408.15664, algorithm 1; Megatron-Core's
   * `get_updated_expert_bias`).
   */
  'update.selectionBias': {
    roles: { picks: reads, loss: reads, weights: adds },
    fields: { rate: 'number' },
    bound: ['step', 'selectionBiases'],
  },
} as const satisfies Record<string, KernelSpec>;
