/**
 * Sliced combine, as DeepSpeed writes it: all-reduce the partial sums over etp (2Vq), keep the rows of the own slice, all-to-all of V/TP
 * back, and, when activations are replicated, an all-gather of the returned expert rows over TP (Vq), so that every rank sums all tokens.
 */
import { returnedRegion, type ReturningContext, type ReturningHalf } from './dispatcher.js';
import { buffer, exchange, move, spread, sumPartial } from './emit.js';

const expands = (c: ReturningContext): boolean => c.activation === 'replicated' && c.shape.layout.tp > 1;
const returned = (c: ReturningContext): string =>
  c.builder.region(returnedRegion(returningSliced, c.shape, c.activation, c.saved));
const slice = (c: ReturningContext): string => (expands(c) ? buffer(c, 'returned.slice', 'sent') : returned(c));
const mine = (c: ReturningContext): string => (c.shape.layout.ep > 1 ? buffer(c, 'mine', 'received') : slice(c));
const packed = (c: ReturningContext): string => (c.shape.layout.etp > 1 ? buffer(c, 'packed', 'expert') : mine(c));

export const returningSliced: ReturningHalf = {
  name: 'sliced',
  scope: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  routing: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  unsupported: ({ layout }) =>
    (layout.etp * layout.ep) % layout.tp === 0 || layout.sequenceParallel
      ? undefined
      : `a sliced combine gathers the returned rows of all TP ranks, so one expert group must hold them all: etp*ep (${layout.etp * layout.ep}) must be a multiple of tp (${layout.tp})`,
  returnedRows: (activation) => (activation === 'replicated' ? 'replica' : 'sent'),
  stages: [
    (c) => {
      move(c, 'unplace', 'moe.unplace.slice', 'expert', c.source, packed(c));
      if (c.shape.layout.etp > 1) sumPartial(c, packed(c));
    },
    (c) => {
      if (c.shape.layout.etp > 1) move(c, 'take', 'moe.takeOwn', 'received', packed(c), mine(c));
      if (c.shape.layout.ep > 1) exchange(c, 'return', 'combine.sliced', mine(c), slice(c));
    },
    (c) => {
      if (expands(c)) spread(c, 'all_gather', 'tp', 'expand', slice(c), returned(c), 'expand');
    },
  ],
};
