/**
 * Duplicated dispatch: every TP rank holds all T tokens and sends all their rows to the same-index rank of each expert's group. Simple, one
 * collective, no gather; V*(EP-1)/EP bytes leave every rank, TP times what is needed. (DeepSpeed before its PR 5626.)
 */
import type { OutgoingContext, OutgoingHalf } from './dispatcher.js';
import { buffer, exchange, move } from './emit.js';

const sendBuffer = (c: OutgoingContext): string => buffer(c, 'send', 'replica');
const receivedBuffer = (c: OutgoingContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'received', 'expert') : sendBuffer(c);

export const outgoingDuplicated: OutgoingHalf = {
  name: 'duplicated',
  scope: 'replica',
  unsupported: ({ layout }) =>
    layout.etp === layout.tp
      ? undefined
      : `a duplicated dispatch exchanges between equal TP ranks, so it needs etp = tp (here etp ${layout.etp}, tp ${layout.tp})`,
  stages: [
    (c) => {
      move(c, 'pack', `moe.pack.replica${c.weighted ? '.weighted' : ''}`, 'replica', c.source, sendBuffer(c), true);
      if (c.shape.layout.ep > 1) exchange(c, 'all_to_all', 'dispatch.duplicated', sendBuffer(c), receivedBuffer(c));
    },
    (c) => move(c, 'place', 'moe.place.replica', 'expert', receivedBuffer(c), c.into),
  ],
};
