/**
 * Sliced combine, as DeepSpeed writes it: all-reduce the partial sums over etp (2Vq), keep the rows of the own slice,
 * all-to-all of V/TP back, and, when activations are replicated, an all-gather of the returned expert rows over TP
 * (Vq), so that every rank sums all tokens.
 */
import { returnedRegion, type ReturningContext, type RowsHalf } from './dispatcher.js';
import { expertSize, receivedSize, replicaSize, sentSize } from '../moe-shape.js';
import type { Exchange, RowOrder } from '../rows.js';
import { buffer, exchange, spread, sumPartial, takeOwn, unplace } from './emit.js';
import { canonicalOrder, gatheredOrder, sliceReturn } from './exchanges.js';

/**
 * all_gather over tp: member i contributes the rows of its own slice (DeepSpeed's gather of the returned expert
 * buffer).
 */
const expand: Exchange = {
  name: 'expand',
  counts: (at, part, routing) => {
    const { tp } = at.layout;
    // TP peers are in one expert group (see `unsupported`).
    const receive = Int32Array.from({ length: tp }, (_, i) => routing.sent(at.source - at.tp + i, part));
    return { send: receive.slice(at.tp, at.tp + 1), receive };
  },
};

/** As that all_gather delivers them: [slice][expert]. */
const expandedOrder: RowOrder = {
  name: 'expanded',
  blocks: ({ experts, slices }) =>
    Int32Array.from({ length: experts * slices }, (_, i) => (i % experts) * slices + Math.floor(i / experts)),
};

const expands = (c: ReturningContext): boolean => c.activation === 'replicated' && c.shape.layout.tp > 1;
const returned = (c: ReturningContext): string =>
  c.builder.region(returnedRegion(returningSliced, c.shape, c.activation, c.saved));
const slice = (c: ReturningContext): string =>
  expands(c) ? buffer(c, 'returned.slice', sentSize(c.shape)) : returned(c);
const mine = (c: ReturningContext): string =>
  c.shape.layout.ep > 1 ? buffer(c, 'mine', receivedSize(c.shape)) : slice(c);
const packed = (c: ReturningContext): string =>
  c.shape.layout.etp > 1 ? buffer(c, 'packed', expertSize(c.shape)) : mine(c);

export const returningSliced: RowsHalf = {
  name: 'sliced',
  scope: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  routing: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  unsupported: ({ layout }) =>
    (layout.etp * layout.ep) % layout.tp === 0 || layout.sequenceParallel
      ? undefined
      : 'a sliced combine gathers the returned rows of all TP ranks, so one expert group must hold them all: ' +
        `etp*ep (${layout.etp * layout.ep}) must be a multiple of tp (${layout.tp})`,
  returned: (activation) =>
    activation === 'replicated'
      ? { scope: 'replica', order: expandedOrder, size: replicaSize }
      : { scope: 'slice', order: canonicalOrder, size: sentSize },
  stages: [
    (c) => {
      unplace(c, { order: gatheredOrder, rows: expertSize(c.shape), from: c.source, to: packed(c) });
      if (c.shape.layout.etp > 1) sumPartial(c, packed(c));
    },
    (c) => {
      if (c.shape.layout.etp > 1)
        takeOwn(c, { order: gatheredOrder, rows: receivedSize(c.shape), from: packed(c), to: mine(c) });
      if (c.shape.layout.ep > 1) exchange(c, { task: 'return', counts: sliceReturn, from: mine(c), to: slice(c) });
    },
    (c) => {
      if (expands(c)) {
        const [from, to] = [slice(c), returned(c)];
        spread(c, { name: 'all_gather', group: 'tp', counts: expand, from, to, task: 'expand' });
      }
    },
  ],
};
