/**
 * Sliced dispatch: every rank sends only the rows of its own token slice, V/TP, to the expert group; an all-gather over the experts' tensor
 * parallel ranks (fast links) rebuilds the full rows, V*(ETP-1)/TP. With etp = 1 there is no gather ("folding"). In n chunks the all-gather
 * of one runs beside the all-to-all of the next (MoNTA). A source of all T rows is read at the slice's offset: slicing costs no copy.
 */
import type { OutgoingContext, OutgoingHalf } from './dispatcher.js';
import { buffer, exchange, move, spread } from './emit.js';

const sendBuffer = (c: OutgoingContext): string => buffer(c, 'send', 'sent');
const receivedBuffer = (c: OutgoingContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'received', 'received') : sendBuffer(c);
const gatheredBuffer = (c: OutgoingContext): string =>
  c.shape.layout.etp > 1 ? buffer(c, 'gathered', 'expert') : receivedBuffer(c);

export const outgoingSliced: OutgoingHalf = {
  name: 'sliced',
  scope: 'slice',
  unsupported: () => undefined,
  stages: [
    (c) => {
      move(c, 'pack', `moe.pack.slice${c.weighted ? '.weighted' : ''}`, 'sent', c.source, sendBuffer(c), true);
      if (c.shape.layout.ep > 1) exchange(c, 'all_to_all', 'dispatch.sliced', sendBuffer(c), receivedBuffer(c));
    },
    (c) => {
      if (c.shape.layout.etp > 1) spread(c, 'all_gather', 'etp', 'gather', receivedBuffer(c), gatheredBuffer(c));
    },
    (c) => move(c, 'place', 'moe.place.slice', 'expert', gatheredBuffer(c), c.into),
  ],
};
