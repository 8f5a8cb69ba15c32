/**
 * Sliced dispatch: every rank sends only the rows of its own token slice, V/TP, to the expert group; an all-gather over
 * the experts' tensor parallel ranks (fast links) rebuilds the full rows, V*(ETP-1)/TP. With etp = 1 there is no gather
 * ("folding"). In n chunks the all-gather of one runs beside the all-to-all of the next (MoNTA). A source of all T rows
 * is read at the slice's offset: slicing costs no copy.
 */
import type { OutgoingContext, OutgoingHalf } from './dispatcher.js';
import { expertSize, receivedSize, sentSize } from '../moe-shape.js';
import { buffer, exchange, pack, place, spread } from './emit.js';
import { canonicalOrder, gatheredOrder, gatherReceived, sliceExchange } from './exchanges.js';

const sendBuffer = (c: OutgoingContext): string => buffer(c, 'send', sentSize(c.shape));
const receivedBuffer = (c: OutgoingContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'received', receivedSize(c.shape)) : sendBuffer(c);
const gatheredBuffer = (c: OutgoingContext): string =>
  c.shape.layout.etp > 1 ? buffer(c, 'gathered', expertSize(c.shape)) : receivedBuffer(c);

export const outgoingSliced: OutgoingHalf = {
  name: 'sliced',
  scope: 'slice',
  unsupported: () => undefined,
  stages: [
    (c) => {
      pack(c, { scope: 'slice', order: canonicalOrder, rows: sentSize(c.shape), to: sendBuffer(c) });
      if (c.shape.layout.ep > 1)
        exchange(c, { task: 'all_to_all', counts: sliceExchange, from: sendBuffer(c), to: receivedBuffer(c) });
    },
    (c) => {
      if (c.shape.layout.etp > 1) {
        const [from, to] = [receivedBuffer(c), gatheredBuffer(c)];
        spread(c, { name: 'all_gather', group: 'etp', counts: gatherReceived, from, to });
      }
    },
    (c) => place(c, gatheredOrder, expertSize(c.shape), gatheredBuffer(c)),
  ],
};
