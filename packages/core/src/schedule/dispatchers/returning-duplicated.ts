/**
 * Duplicated combine: all-reduce the experts' partial sums over etp (2Vq bytes a rank), then every TP rank takes all rows of its replica
 * back through an all-to-all of V. The mirror of the duplicated dispatch.
 */
import { returnedRegion, type ReturningContext, type ReturningHalf } from './dispatcher.js';
import { buffer, exchange, move, sumPartial } from './emit.js';

const returned = (c: ReturningContext): string =>
  c.builder.region(returnedRegion(returningDuplicated, c.shape, c.activation, c.saved));
const packed = (c: ReturningContext): string => (c.shape.layout.ep > 1 ? buffer(c, 'packed', 'expert') : returned(c));

export const returningDuplicated: ReturningHalf = {
  name: 'duplicated',
  scope: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  routing: () => 'replica',
  unsupported: ({ layout }) =>
    layout.etp === layout.tp
      ? undefined
      : `a duplicated combine exchanges between equal TP ranks, so it needs etp = tp (here etp ${layout.etp}, tp ${layout.tp})`,
  returnedRows: () => 'replica',
  stages: [
    (c) => {
      move(c, 'unplace', 'moe.unplace.replica', 'expert', c.source, packed(c));
      if (c.shape.layout.etp > 1) sumPartial(c, packed(c));
    },
    (c) => {
      if (c.shape.layout.ep > 1) exchange(c, 'return', 'combine.duplicated', packed(c), returned(c));
    },
  ],
};
