/**
 * Duplicated dispatch: every TP rank holds all T tokens and sends all their rows to the same-index rank of each
 * expert's group. Simple, one collective, no gather; V*(EP-1)/EP bytes leave every rank, TP times what is needed.
 * (DeepSpeed before its PR 5626.)
 */
import type { OutgoingContext, OutgoingHalf } from './dispatcher.js';
import { expertSize, replicaSize } from '../moe-shape.js';
import { buffer, exchange, pack, place } from './emit.js';
import { canonicalOrder, replicaExchange, replicaOrder } from './exchanges.js';

const sendBuffer = (c: OutgoingContext): string => buffer(c, 'send', replicaSize(c.shape));
const receivedBuffer = (c: OutgoingContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'received', expertSize(c.shape)) : sendBuffer(c);

export const outgoingDuplicated: OutgoingHalf = {
  name: 'duplicated',
  scope: 'replica',
  unsupported: ({ layout }) =>
    layout.etp === layout.tp
      ? undefined
      : `a duplicated dispatch exchanges between equal TP ranks, so it needs etp = tp (here etp ${layout.etp}, tp ` +
        `${layout.tp})`,
  stages: [
    (c) => {
      pack(c, { scope: 'replica', order: canonicalOrder, rows: replicaSize(c.shape), to: sendBuffer(c) });
      if (c.shape.layout.ep > 1)
        exchange(c, { task: 'all_to_all', counts: replicaExchange, from: sendBuffer(c), to: receivedBuffer(c) });
    },
    (c) => place(c, replicaOrder, expertSize(c.shape), receivedBuffer(c)),
  ],
};
