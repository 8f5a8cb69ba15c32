/**
 * Scattered combine: reduce-scatter the partial sums over etp (V*(ETP-1)/TP bytes, half of an all-reduce), all-to-all of V/TP back, sum over
 * picks on the own token slice; when activations are replicated the layer gathers the T*h result, cf*k times less than the expert rows.
 * (Megatron-Core with sequence parallelism.)
 */
import { returnedRegion, type ReturningContext, type ReturningHalf } from './dispatcher.js';
import { buffer, exchange, move, spread } from './emit.js';

const returned = (c: ReturningContext): string =>
  c.builder.region(returnedRegion(returningScattered, c.shape, c.activation, c.saved));
const mine = (c: ReturningContext): string => (c.shape.layout.ep > 1 ? buffer(c, 'mine', 'received') : returned(c));
const packed = (c: ReturningContext): string => (c.shape.layout.etp > 1 ? buffer(c, 'packed', 'expert') : mine(c));

export const returningScattered: ReturningHalf = {
  name: 'scattered',
  scope: () => 'slice',
  routing: () => 'slice',
  unsupported: () => undefined,
  returnedRows: () => 'sent',
  stages: [
    (c) => {
      move(c, 'unplace', 'moe.unplace.slice', 'expert', c.source, packed(c));
      if (c.shape.layout.etp > 1) spread(c, 'reduce_scatter', 'etp', 'scatter', packed(c), mine(c));
    },
    (c) => {
      if (c.shape.layout.ep > 1) exchange(c, 'return', 'combine.sliced', mine(c), returned(c));
    },
  ],
};
