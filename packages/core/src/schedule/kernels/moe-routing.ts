/** Kernels that pick experts for tokens. */
import { adds, mayAdd, mayRead, reads, writes, type KernelSpec } from './kernel-spec.js';

export const routingKernels = {
  'moe.router': {
    roles: {
      normed: reads,
      weight: reads,
      bias: mayRead,
      selectionBias: mayRead,
      ids: writes,
      weights: writes,
      probabilities: writes,
      statistics: adds,
    },
    fields: { scope: 'scope', renormalise: 'boolean', selection: 'selection?' },
    bound: ['slice'],
  },
  /** Rows of k ids, then their probabilities before renormalising, by which picks are ranked. */
  'moe.picks': { roles: { ids: reads, probabilities: reads, picks: writes } },
  'moe.capacity': {
    roles: { probabilities: reads, ids: adds, weights: adds },
    fields: { factor: 'number', renormalise: 'boolean' },
  },
  /** From the picks of all slices: which of the own ones are kept depends on all. */
  'moe.capacity.gathered': {
    roles: { picks: reads, ids: adds, weights: adds },
    fields: { factor: 'number', experts: 'number', renormalise: 'boolean' },
    bound: ['slice'],
  },
  'moe.count': { roles: { ids: reads, counts: writes } },
  /** `picks`: those of the own tokens by expert, as routed, dropped or not; added to what other micro-batches chose. */
  'moe.router.backward': {
    roles: {
      routeGradient: reads,
      ids: reads,
      probabilities: reads,
      statistics: reads,
      normed: reads,
      weight: reads,
      normedGradient: writes,
      weightGradient: adds,
      biasGradient: mayAdd,
      picks: mayAdd,
    },
    fields: {
      scope: 'scope',
      renormalise: 'boolean',
      coefficient: 'number',
      pooledTokens: 'number',
      selection: 'selection?',
    },
    bound: ['slice'],
  },
} as const satisfies Record<string, KernelSpec>;
