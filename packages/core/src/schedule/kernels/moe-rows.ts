/** Kernels that move rows between tokens, communication buffers and experts. */
import { adds, mayRead, mayWrite, reads, writes, writesOrAdds, type KernelSpec } from './kernel-spec.js';

export const rowKernels = {
  /**
   * Rows of tokens into a send buffer, multiplied by their picks' weights where these are given. A buffer of fp8 holds
   * quantised rows with their scales behind them (`payload.ts`), here and below: what is brought out of it are the rows
   * that they stand for.
   */
  'moe.pack': {
    roles: { source: reads, weights: { ...mayRead, pricedApart: true }, packed: writes },
    fields: { scope: 'scope', order: 'order' },
    bound: ['send'],
  },
  /** Between a communication buffer and the canonical order of expert rows. */
  'moe.place': { roles: { arrived: reads, canonical: writes }, fields: { order: 'order' }, bound: ['arrived'] },
  'moe.unplace': { roles: { canonical: reads, packed: writes }, fields: { order: 'order' }, bound: ['arrived'] },
  /** The section of this rank's etp index out of gathered rows. */
  'moe.take': { roles: { gathered: reads, own: writes }, fields: { order: 'order' }, bound: ['section'] },
  /** Sums each token's returned rows, weighted by its picks where weights are given. */
  'moe.combine': {
    roles: { returned: reads, weights: mayRead, combined: writesOrAdds },
    fields: { scope: 'scope', returnedScope: 'scope', order: 'order', chunks: 'number', accumulate: 'boolean' },
    bound: ['returned'],
  },
  /** Gradient of the picks' weights: products of each returned row and its token's gradient. */
  'moe.combine.weights': {
    roles: { returned: reads, gradient: reads, routeGradient: writes },
    fields: { scope: 'scope', returnedScope: 'scope', order: 'order', chunks: 'number' },
    bound: ['returned'],
  },

  /**
   * Every fine row gets its coarse row (see `dispatchers/row-layout.ts`); rows of others stay as they are with mode
   * add. `rounded`: as if it had travelled in fp8.
   */
  'rows.copy': {
    roles: { coarse: reads, fine: writesOrAdds },
    fields: { pairs: 'pairs', accumulate: 'boolean', rounded: 'boolean?' },
    bound: ['moves'],
  },
  /**
   * Every coarse row is the sum of its fine rows, weighted by their picks where weights (of all tokens of the group)
   * are given.
   */
  'rows.sum': {
    roles: { fine: reads, weights: { ...mayRead, pricedApart: true }, coarse: writes },
    fields: { pairs: 'pairs' },
    bound: ['moves'],
  },
  /**
   * Gradients of expert rows, times their picks' weights; before, where outputs are given, the gradients of these
   * weights.
   */
  'rows.weigh': {
    roles: { weights: reads, gradient: adds, output: mayRead, weightGradient: mayWrite },
    fields: { pairs: 'pairs' },
    bound: ['moves'],
  },
  /** Gradients of picks' weights as they came back, pick by pick; 0 where a pick was dropped. */
  'picks.gradient': {
    roles: { returned: reads, routeGradient: writes },
    fields: { scope: 'scope', returnedScope: 'scope', order: 'order', chunks: 'number' },
    bound: ['returned'],
  },
} as const satisfies Record<string, KernelSpec>;
