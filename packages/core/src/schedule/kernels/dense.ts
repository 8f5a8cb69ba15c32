/** Kernels of norms, residuals, MLP blocks and of both ends of the model. */
import { adds, mayAdd, mayRead, mayWrite, reads, writes, writesOrAdds, type KernelSpec } from './kernel-spec.js';

export const denseKernels = {
  copy: { roles: { from: reads, to: writes } },
  fill: { roles: { to: writes }, fields: { value: 'number' } },
  /** to = a b, all three matrices: for timing a device, no template uses it. */
  gemm: { roles: { a: reads, b: reads, to: writes } },
  'residual.add': { roles: { from: reads, to: adds } },

  /** RMS norm in front of a layer; keeps the layer's input for the backward, unless it is kept already. */
  norm: { roles: { stream: reads, weight: reads, kept: mayWrite, normed: writes }, fields: { epsilon: 'number' } },
  'norm.backward': {
    roles: { normedGradient: reads, kept: reads, weight: reads, gradient: writesOrAdds, weightGradient: adds },
    fields: { epsilon: 'number', accumulate: 'boolean' },
  },

  /**
   * With `tokenGate`, one row of weights, each token's output is multiplied by the sigmoid of its product with it,
   * which `scale` keeps.
   */
  mlp: {
    roles: {
      normed: reads,
      gate: reads,
      up: reads,
      down: reads,
      tokenGate: mayRead,
      gateUp: writes,
      activated: writes,
      output: writes,
      scale: mayWrite,
    },
  },
  'mlp.backward': {
    roles: {
      outputGradient: reads,
      normed: reads,
      gateUp: reads,
      gate: reads,
      up: reads,
      down: reads,
      tokenGate: mayRead,
      scale: mayRead,
      activated: writes,
      gateUpGradient: writes,
      normedGradient: writes,
      gateGradient: adds,
      upGradient: adds,
      downGradient: adds,
      tokenGateGradient: mayAdd,
    },
  },

  embedding: {
    roles: { tokens: reads, weight: reads, embedded: writes },
    fields: { vocabulary: 'number' },
    bound: ['tp'],
  },
  'embedding.backward': {
    roles: { tokens: reads, gradient: reads, weightGradient: adds },
    fields: { vocabulary: 'number' },
    bound: ['tp', 'step'],
  },
  'head.logits': { roles: { normed: reads, weight: reads, logits: writes } },
  'head.max': { roles: { logits: reads, max: writes }, fields: { vocabulary: 'number' }, bound: ['tp'] },
  'head.sums': {
    roles: { logits: reads, max: reads, tokens: reads, sums: writes },
    fields: { vocabulary: 'number' },
    bound: ['tp'],
  },
  'head.loss': {
    roles: { sums: reads, tokens: reads, statistics: reads, loss: adds },
    fields: { pooledTokens: 'number', microBatches: 'number', ranks: 'number' },
    bound: ['tp'],
  },
  'head.softmax.backward': {
    roles: { logits: adds, max: reads, sums: reads, tokens: reads },
    fields: { vocabulary: 'number' },
    bound: ['tp', 'step'],
  },
  'head.logits.backward': {
    roles: { logits: reads, normed: reads, weight: reads, normedGradient: writes, weightGradient: adds },
  },
} as const satisfies Record<string, KernelSpec>;
