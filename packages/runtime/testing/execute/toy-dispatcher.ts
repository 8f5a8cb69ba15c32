/**
 * A dispatcher of its own: rows travel over the rail, with the experts of every destination in reverse, and are
 * gathered inside the node. Its counts, its orders and its groups stand here and nowhere else. Partial sums meet in the
 * order of `scattered`, so results are equal bit for bit.
 */
import { groupMembers } from '@monta/core/layout';
import type { Layout } from '@monta/core';
import {
  buffer,
  exchange,
  expertSize,
  outgoingHalves,
  pack,
  place,
  receivedSize,
  returnedRegion,
  returningHalves,
  sentSize,
  spread,
  unplace,
  type Exchange,
  type OutgoingContext,
  type OutgoingHalf,
  type ReturningContext,
  type RowsHalf,
  type RowOrder,
} from '@monta/core/schedule/dispatchers';

/** Owner by owner as an all_to_all needs it, and the owner's experts from the last to the first. */
const sentOrder: RowOrder = {
  name: 'toy sent',
  blocks: ({ layout: { ep }, experts }) => {
    const local = experts / ep;
    return Int32Array.from({ length: experts }, (_, i) => Math.floor(i / local) * local + (local - 1 - (i % local)));
  },
};

/** As the node's gather delivers it: [rank of the node][node][local expert, from the last]. */
const arrivedOrder: RowOrder = {
  name: 'toy arrived',
  blocks: ({ layout: { ep, etp }, experts }) => {
    const order: number[] = [];
    for (let mate = 0; mate < etp; mate++)
      for (let node = 0; node < ep; node++)
        for (let expert = experts - 1; expert >= 0; expert--) order.push((expert * ep + node) * etp + mate);
    return Int32Array.from(order);
  },
};

/** Places of the ranks of one rail among the sources of their expert group: `etp` ranks of it are on every node. */
const rail = ({ etp, ep }: Layout, mate: number): number[] =>
  Array.from({ length: ep }, (_, node) => node * etp + mate);

const overRail: Exchange = {
  name: 'toy rail',
  counts: (at, part, routing) => ({
    send: Int32Array.from(rail(at.layout, at.etp), (_, node) => routing.rows(at.source, node, part)),
    receive: Int32Array.from(rail(at.layout, at.etp), (peer) => routing.rows(peer, at.ep, part)),
  }),
};

/** What each rank of the node has got over its rail. */
const inNode: Exchange = {
  name: 'toy node',
  counts: (at, part, routing) => {
    const receive = Int32Array.from({ length: at.layout.etp }, (_, mate) =>
      rail(at.layout, mate).reduce((rows, peer) => rows + routing.rows(peer, at.ep, part), 0),
    );
    return { send: receive.slice(at.etp, at.etp + 1), receive };
  },
};

const back = (name: string, out: Exchange): Exchange => ({
  name,
  counts: (...asked) => {
    const { send, receive } = out.counts(...asked);
    return { send: receive, receive: send };
  },
});
const overRailBack = back('toy rail back', overRail);
const inNodeBack = back('toy node back', inNode);

/** An EP index has to be a node, so that the rail joins ranks with the same share of each expert. */
function unsupported({ layout }: { readonly layout: Layout }): string | undefined {
  const fits = layout.etp > 1 && layout.ep > 1 && groupMembers(layout, 'node', 0).length === layout.etp;
  return fits ? undefined : 'the toy needs several EP indices, each of them a whole node of several ranks';
}

const received = (c: OutgoingContext): string => buffer(c, 'received', receivedSize(c.shape));
const gathered = (c: OutgoingContext): string => buffer(c, 'gathered', expertSize(c.shape));

export const toyOutgoing: OutgoingHalf = {
  name: 'toy',
  scope: 'slice',
  unsupported,
  stages: [
    (c) => {
      const send = buffer(c, 'send', sentSize(c.shape));
      pack(c, { scope: 'slice', order: sentOrder, rows: sentSize(c.shape), to: send });
      exchange(c, { task: 'rail', group: 'rail', counts: overRail, from: send, to: received(c) });
    },
    (c) => spread(c, { name: 'all_gather', group: 'node', counts: inNode, from: received(c), to: gathered(c) }),
    (c) => place(c, arrivedOrder, expertSize(c.shape), gathered(c)),
  ],
};

const mine = (c: ReturningContext): string => buffer(c, 'mine', receivedSize(c.shape));

export const toyReturning: RowsHalf = {
  name: 'toy',
  scope: () => 'slice',
  routing: () => 'slice',
  unsupported,
  returned: () => ({ scope: 'slice', order: sentOrder, size: sentSize }),
  stages: [
    (c) => {
      const packed = buffer(c, 'packed', expertSize(c.shape));
      unplace(c, { order: arrivedOrder, rows: expertSize(c.shape), from: c.source, to: packed });
      spread(c, { name: 'reduce_scatter', group: 'node', counts: inNodeBack, from: packed, to: mine(c) });
    },
    (c) => {
      const to = c.builder.region(returnedRegion(toyReturning, c.shape, c.activation, c.saved));
      exchange(c, { task: 'rail back', group: 'rail', counts: overRailBack, from: mine(c), to });
    },
  ],
};

/** Adds the toy to the lists; the function that it returns takes it out again. */
export function addToy(): () => void {
  const remove = [outgoingHalves.add(toyOutgoing), returningHalves.add(toyReturning)];
  return () => remove.forEach((one) => one());
}
