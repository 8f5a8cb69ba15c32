/**
 * Scattered combine: reduce-scatter the partial sums over etp (V*(ETP-1)/TP bytes, half of an all-reduce), all-to-all
 * of V/TP back, sum over picks on the own token slice; when activations are replicated the layer gathers the T*h
 * result, cf*k times less than the expert rows. (Megatron-Core with sequence parallelism.)
 */
import { returnedRegion, type ReturningContext, type RowsHalf } from './dispatcher.js';
import { expertSize, receivedSize, sentSize } from '../moe-shape.js';
import { buffer, exchange, spread, unplace } from './emit.js';
import { canonicalOrder, gatheredOrder, scatterReceived, sliceReturn } from './exchanges.js';

const returned = (c: ReturningContext): string =>
  c.builder.region(returnedRegion(returningScattered, c.shape, c.activation, c.saved));
const mine = (c: ReturningContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'mine', receivedSize(c.shape)) : returned(c);
const packed = (c: ReturningContext): string =>
  c.shape.layout.etp > 1 ? buffer(c, 'packed', expertSize(c.shape)) : mine(c);

export const returningScattered: RowsHalf = {
  name: 'scattered',
  scope: () => 'slice',
  routing: () => 'slice',
  unsupported: () => undefined,
  returned: () => ({ scope: 'slice', order: canonicalOrder, size: sentSize }),
  stages: [
    (c) => {
      unplace(c, { order: gatheredOrder, rows: expertSize(c.shape), from: c.source, to: packed(c) });
      if (c.shape.layout.etp > 1) {
        const [from, to] = [packed(c), mine(c)];
        spread(c, { name: 'reduce_scatter', group: 'etp', counts: scatterReceived, from, to });
      }
    },
    (c) => {
      if (c.shape.layout.ep > 1) exchange(c, { task: 'return', counts: sliceReturn, from: mine(c), to: returned(c) });
    },
  ],
};
