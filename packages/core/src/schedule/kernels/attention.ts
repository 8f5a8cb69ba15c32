/**
 * Kernels of attention with a projection each for queries, keys and values, and of its core, which latent attention
 * shares.
 */
import { adds, mayAdd, mayRead, mayWrite, reads, writes, type KernelSpec } from './kernel-spec.js';

const projectionWeights = { queryWeight: reads, keyWeight: reads, valueWeight: reads } as const;
const queryKeyNorms = { queryNorm: mayRead, keyNorm: mayRead } as const;
const perHead = { heads: 'heads', clip: 'number?', epsilon: 'number' } as const;
/** Of rotary positions. */
export const turned = {
  sequence: 'number',
  theta: 'number',
  scaling: 'ropeScaling?',
  interleaved: 'boolean?',
} as const;
const rotary = { ...perHead, ...turned, rotaryDim: 'number?' } as const;
const attended = { heads: 'heads', sequence: 'number', window: 'window?' } as const;

export const attentionKernels = {
  'attention.project': {
    roles: {
      normed: reads,
      ...projectionWeights,
      queryBias: mayRead,
      keyBias: mayRead,
      valueBias: mayRead,
      projected: writes,
      raw: mayWrite,
    },
    fields: perHead,
    bound: ['tp'],
  },
  'attention.squares': { roles: { raw: reads, squares: writes }, fields: perHead, bound: ['tp'] },
  'attention.rotate': {
    roles: { projected: adds, raw: mayRead, squares: mayRead, ...queryKeyNorms },
    fields: rotary,
    bound: ['tp'],
  },
  'attention.core': {
    roles: { projected: reads, sinks: mayRead, logSumExp: writes, context: writes },
    fields: attended,
    bound: ['tp', 'layer'],
  },
  /** The outputs of all TP ranks are summed: one of them adds the bias. */
  'attention.output': { roles: { context: reads, weight: reads, bias: mayRead, output: writes }, bound: ['tp'] },
  'attention.output.backward': {
    roles: {
      outputGradient: reads,
      context: reads,
      weight: reads,
      contextGradient: writes,
      weightGradient: adds,
      biasGradient: mayAdd,
    },
  },
  'attention.core.backward': {
    roles: {
      contextGradient: reads,
      projected: reads,
      sinks: mayRead,
      logSumExp: reads,
      context: reads,
      gradient: writes,
      sinksGradient: mayAdd,
    },
    fields: { ...attended, clip: 'number?' },
    bound: ['tp', 'layer'],
  },
  'attention.dots.backward': {
    roles: { gradient: adds, raw: reads, squares: reads, queryNorm: reads, keyNorm: reads, dots: writes },
    fields: rotary,
    bound: ['tp'],
  },
  'attention.rotate.backward': {
    roles: {
      gradient: adds,
      raw: mayRead,
      squares: mayRead,
      dots: mayRead,
      ...queryKeyNorms,
      queryNormGradient: mayAdd,
      keyNormGradient: mayAdd,
    },
    fields: rotary,
    bound: ['tp'],
  },
  'attention.project.backward': {
    roles: {
      gradient: reads,
      normed: reads,
      ...projectionWeights,
      normedGradient: writes,
      queryWeightGradient: adds,
      keyWeightGradient: adds,
      valueWeightGradient: adds,
      queryBiasGradient: mayAdd,
      keyBiasGradient: mayAdd,
      valueBiasGradient: mayAdd,
    },
    fields: perHead,
    bound: ['tp'],
  },
} as const satisfies Record<string, KernelSpec>;
