/**
 * Exchanges and row orders that several halves share. C[s][e]: rows that token slice s sends to expert e; source s =
 * etp index + etp * ep index. A half that moves rows in another way writes its own in its own file.
 */
import type { GroupRouting, Part } from '../../routing/group-routing.js';
import type { Exchange, RankPlace, RowOrder } from '../rows.js';

/** The way back: what was received is sent. */
export const transposed = (name: string, out: Exchange): Exchange => ({
  name,
  counts: (at, part, routing) => {
    const { send, receive } = out.counts(at, part, routing);
    return { send: receive, receive: send };
  },
});

/** all_to_all over ep: a rank sends its own slice's rows of every expert to the ep rank that holds the expert. */
export const sliceExchange: Exchange = {
  name: 'dispatch.sliced',
  counts: (at, part, routing) => {
    const { ep, etp } = at.layout;
    return {
      send: Int32Array.from({ length: ep }, (_, owner) => routing.rows(at.source, owner, part)),
      receive: Int32Array.from({ length: ep }, (_, peer) => routing.rows(peer * etp + at.etp, at.ep, part)),
    };
  },
};

export const sliceReturn = transposed('combine.sliced', sliceExchange);

/** all_to_all over ep: a rank sends the rows of all token slices of its replica (etp = tp). */
export const replicaExchange: Exchange = {
  name: 'dispatch.duplicated',
  counts: (at, part, routing) => {
    const { ep } = at.layout;
    return {
      send: Int32Array.from({ length: ep }, (_, owner) => replicaRowsFor({ at, replica: at.ep, owner, part, routing })),
      receive: Int32Array.from({ length: ep }, (_, peer) =>
        replicaRowsFor({ at, replica: peer, owner: at.ep, part, routing }),
      ),
    };
  },
};

function replicaRowsFor({
  at,
  replica,
  owner,
  part,
  routing,
}: {
  readonly at: RankPlace;
  readonly replica: number;
  readonly owner: number;
  readonly part: Part;
  readonly routing: GroupRouting;
}): number {
  const { etp } = at.layout;
  let rows = 0;
  for (let slice = 0; slice < etp; slice++) rows += routing.rows(replica * etp + slice, owner, part);
  return rows;
}

export const replicaReturn = transposed('combine.duplicated', replicaExchange);

/** all_gather over etp: member j contributes the rows that its slice-wise all_to_all received. */
export const gatherReceived: Exchange = {
  name: 'gather',
  counts: (at, part, routing) => {
    const { etp, ep } = at.layout;
    const receive = Int32Array.from({ length: etp }, (_, member) => {
      let rows = 0;
      for (let peer = 0; peer < ep; peer++) rows += routing.rows(peer * etp + member, at.ep, part);
      return rows;
    });
    return { send: receive.slice(at.etp, at.etp + 1), receive };
  },
};

/** reduce_scatter over etp: member j keeps the rows of its own slices; the adjoint of `gatherReceived`. */
export const scatterReceived = transposed('scatter', gatherReceived);

/** The canonical order: destination by destination, what the sender of an all_to_all packs. */
export const canonicalOrder: RowOrder = {
  name: 'canonical',
  blocks: ({ experts, slices }) => Int32Array.from({ length: experts * slices }, (_, block) => block),
};

/** As an all_gather over etp delivers what every member's all_to_all received: [etp member][ep rank][local expert]. */
export const gatheredOrder: RowOrder = {
  name: 'gathered',
  blocks: ({ layout: { ep, etp }, experts }) => {
    const order = new Int32Array(experts * ep * etp);
    let at = 0;
    for (let member = 0; member < etp; member++)
      for (let rank = 0; rank < ep; rank++)
        for (let expert = 0; expert < experts; expert++) order[at++] = (expert * ep + rank) * etp + member;
    return order;
  },
};

/** As an all_to_all over ep delivers the rows of whole replicas: [ep rank][local expert][slice]. */
export const replicaOrder: RowOrder = {
  name: 'replica',
  blocks: ({ layout: { ep, etp }, experts }) => {
    const order = new Int32Array(experts * ep * etp);
    let at = 0;
    for (let rank = 0; rank < ep; rank++)
      for (let expert = 0; expert < experts; expert++)
        for (let slice = 0; slice < etp; slice++) order[at++] = (expert * ep + rank) * etp + slice;
    return order;
  },
};
