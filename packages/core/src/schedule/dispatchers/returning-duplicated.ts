/**
 * Duplicated combine: all-reduce the experts' partial sums over etp (2Vq bytes a rank), then every TP rank takes all
 * rows of its replica back through an all-to-all of V. The mirror of the duplicated dispatch.
 */
import { returnedRegion, type ReturningContext, type RowsHalf } from './dispatcher.js';
import { expertSize, replicaSize } from '../moe-shape.js';
import { buffer, exchange, sumPartial, unplace } from './emit.js';
import { canonicalOrder, replicaOrder, replicaReturn } from './exchanges.js';

const returned = (c: ReturningContext): string =>
  c.builder.region(returnedRegion(returningDuplicated, c.shape, c.activation, c.saved));
const packed = (c: ReturningContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'packed', expertSize(c.shape)) : returned(c);

export const returningDuplicated: RowsHalf = {
  name: 'duplicated',
  scope: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  routing: () => 'replica',
  unsupported: ({ layout }) =>
    layout.etp === layout.tp
      ? undefined
      : `a duplicated combine exchanges between equal TP ranks, so it needs etp = tp (here etp ${layout.etp}, tp ` +
        `${layout.tp})`,
  returned: () => ({ scope: 'replica', order: canonicalOrder, size: replicaSize }),
  stages: [
    (c) => {
      unplace(c, { order: replicaOrder, rows: expertSize(c.shape), from: c.source, to: packed(c) });
      if (c.shape.layout.etp > 1) sumPartial(c, packed(c));
    },
    (c) => {
      if (c.shape.layout.ep > 1)
        exchange(c, { task: 'return', counts: replicaReturn, from: packed(c), to: returned(c) });
    },
  ],
};
