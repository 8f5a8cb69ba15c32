/**
 * Deduplicated and gathered, by plain collectives: one copy of a token travels to each EP index that it needs
 * (all_to_all of (T/TP)*h*(EP-1)*p), an all_gather over the experts' tensor parallel ranks rebuilds the unique tokens,
 * and they are expanded to expert rows in memory. Where all T tokens are on every TP rank, those of the own replica are
 * neither sent nor gathered. Back: weighted sums over the picks at each EP index, reduce_scatter, all_to_all, sum of
 * the copies. p: chance that a token needs a given EP index.
 */
import type { ChunkContext, OutgoingHalf, ReturningHalf } from './dispatcher.js';
import {
  addUp,
  copyBuffer,
  expandCopies,
  expandReplica,
  gatherCopies,
  holdsReplica,
  hop,
  packCopies,
  scatterSums,
  sumExperts,
  summedTokens,
} from './emit-copies.js';
import { expertsOf, ownReplica, type RowBlock, type RowLayout } from './row-layout.js';
import type { RankPlace } from '../rows.js';

const indices = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Copies of a source's tokens for the experts of an EP index. */
const copies = (at: RankPlace, experts: number, source: number, owner: number): RowBlock => ({
  source,
  ...expertsOf(owner, at, experts),
});

/** With those between ranks of one replica, or without. */
function layouts(own: boolean): Record<'sent' | 'arrived' | 'gathered', RowLayout> {
  const travels = (at: RankPlace, source: number): boolean => own || !ownReplica(at, source);
  /** The source with etp index `member` at EP index `peer`. */
  const sourceAt = ({ layout }: RankPlace, member: number, peer: number): number => member + layout.etp * peer;
  const prefix = own ? 'copies' : "others' copies";
  return {
    sent: {
      name: `${prefix} for EP indices`,
      blocks: (at, experts) =>
        indices(at.layout.ep).map((owner) =>
          travels(at, sourceAt(at, at.etp, owner)) ? [copies(at, experts, at.source, owner)] : [],
        ),
    },
    arrived: {
      name: `${prefix} from EP indices`,
      blocks: (at, experts) =>
        indices(at.layout.ep)
          .map((peer) => sourceAt(at, at.etp, peer))
          .map((source) => (travels(at, source) ? [copies(at, experts, source, at.ep)] : [])),
    },
    gathered: {
      name: `${prefix} gathered`,
      blocks: (at, experts) =>
        indices(at.layout.etp).map((member) =>
          indices(at.layout.ep)
            .map((peer) => sourceAt(at, member, peer))
            .filter((source) => travels(at, source))
            .map((source) => copies(at, experts, source, at.ep)),
        ),
    },
  };
}

const all = layouts(true);
const others = layouts(false);

/** Ranks of an etp group share a replica, so that what one of them holds all hold. */
const skipsOwn = (c: ChunkContext): boolean => holdsReplica(c) && c.shape.layout.tp % c.shape.layout.etp === 0;

const outgoing = (c: ChunkContext) => {
  const { sent, arrived, gathered } = skipsOwn(c) ? others : all;
  const { etp, ep } = c.shape.layout;
  const send = copyBuffer(c, 'send', sent);
  const received = ep > 1 ? copyBuffer(c, 'received', arrived) : { ...send, layout: arrived };
  return { send, received, gathered: etp > 1 ? copyBuffer(c, 'gathered', gathered) : received };
};

export const outgoingDeduplicatedGathered: OutgoingHalf = {
  name: 'deduplicated-gathered',
  scope: 'slice',
  picks: true,
  shared: true,
  unsupported: () => undefined,
  stages: [
    (c) => {
      const { send, received } = outgoing(c);
      packCopies(c, send);
      if (c.shape.layout.ep > 1) hop(c, { task: 'all_to_all', group: 'ep', from: send, to: received });
    },
    (c) => {
      const { received, gathered } = outgoing(c);
      if (c.shape.layout.etp > 1) gatherCopies(c, { task: 'all_gather', group: 'etp', from: received, to: gathered });
    },
    (c) => {
      expandCopies(c, outgoing(c).gathered, skipsOwn(c) ? true : undefined);
      if (skipsOwn(c)) expandReplica(c);
    },
  ],
};

const returning = (c: ChunkContext) => {
  const { etp, ep } = c.shape.layout;
  const back = copyBuffer(c, 'sums', all.sent);
  const mine = ep > 1 ? copyBuffer(c, 'mine', all.arrived) : { ...back, layout: all.arrived };
  return { back, mine, partial: etp > 1 ? copyBuffer(c, 'partial', all.gathered) : mine };
};

export const returningDeduplicatedGathered: ReturningHalf = {
  name: 'deduplicated-gathered',
  scope: () => 'slice',
  routing: () => 'slice',
  picks: true,
  unsupported: () => undefined,
  stages: [
    (c) => {
      const { partial, mine } = returning(c);
      sumExperts(c, partial);
      if (c.shape.layout.etp > 1) scatterSums(c, { task: 'reduce_scatter', group: 'etp', from: partial, to: mine });
    },
    (c) => {
      const { mine, back } = returning(c);
      if (c.shape.layout.ep > 1) hop(c, { task: 'return', group: 'ep', from: mine, to: back });
    },
    (c) => addUp(c, 'sum.copies', returning(c).back, summedTokens(c)),
  ],
};
