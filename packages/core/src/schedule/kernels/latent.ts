/** Kernels of latent attention's projections. */
import { turned } from './attention.js';
import { adds, mayAdd, mayRead, mayWrite, reads, writes, writesOrAdds, type KernelSpec } from './kernel-spec.js';

const latent = { heads: 'heads', latent: 'latent', ...turned } as const;

export const latentKernels = {
  /**
   * Latent attention in three steps: down to low ranks (keys' and values' joined with the part of keys that turns),
   * their norms, up to heads. The norm of keys and values takes the first columns only. Without a rank of queries the
   * first two leave them out.
   */
  'latent.compress': {
    roles: {
      normed: reads,
      queryDown: mayRead,
      queryDownBias: mayRead,
      keyValueDown: reads,
      keyValueDownBias: mayRead,
      queryLow: mayWrite,
      keyValueLow: writes,
    },
  },
  'latent.norm': {
    roles: {
      queryLow: mayRead,
      queryNorm: mayRead,
      queryLowNormed: mayWrite,
      keyValueLow: reads,
      keyValueNorm: reads,
      keyValueLowNormed: writes,
    },
    fields: { epsilon: 'number' },
  },
  /**
   * Fills planes of queries, keys and values, rotated. `queryInput` is the normed low rank, or the layer's normed
   * input.
   */
  'latent.expand': {
    roles: {
      queryInput: reads,
      queryUp: reads,
      keyValueLow: reads,
      keyValueLowNormed: reads,
      keyValueUp: reads,
      projected: writes,
    },
    fields: latent,
    bound: ['tp'],
  },
  'latent.expand.backward': {
    roles: {
      gradient: reads,
      queryInput: reads,
      queryUp: reads,
      keyValueLowNormed: reads,
      keyValueUp: reads,
      queryInputGradient: writes,
      keyValueLowNormedGradient: writes,
      keyRopeGradient: writes,
      queryUpGradient: adds,
      keyValueUpGradient: adds,
    },
    fields: latent,
    bound: ['tp'],
  },
  'latent.norm.backward': {
    roles: {
      queryLow: mayRead,
      queryNorm: mayRead,
      queryLowNormedGradient: mayRead,
      queryLowGradient: mayWrite,
      queryNormGradient: mayAdd,
      keyValueLow: reads,
      keyValueNorm: reads,
      keyValueLowNormedGradient: reads,
      keyRopeGradient: reads,
      keyValueLowGradient: writes,
      keyValueNormGradient: adds,
    },
    fields: { epsilon: 'number' },
  },
  'latent.compress.backward': {
    roles: {
      normed: reads,
      queryLowGradient: mayRead,
      queryDown: mayRead,
      keyValueLowGradient: reads,
      keyValueDown: reads,
      normedGradient: writesOrAdds,
      queryDownGradient: mayAdd,
      queryDownBiasGradient: mayAdd,
      keyValueDownGradient: adds,
      keyValueDownBiasGradient: mayAdd,
    },
    fields: { accumulate: 'boolean' },
  },
} as const satisfies Record<string, KernelSpec>;
