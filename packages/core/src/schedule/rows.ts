/**
 * How many rows there are and in which order they lie, where only layout or routing decide it. Each rule is an object
 * that its owner brings along (a dispatcher's half, a layer), so the vocabulary is open: whoever reads a schedule asks
 * the rule and knows no names.
 */
import type { Layout } from '../layout/layout.js';
import { coordinates } from '../layout/mesh.js';
import type { ExpertRange, GroupRouting, Part } from '../routing/group-routing.js';
import { chunkRows } from '../routing/group-routing.js';

/** Which tokens a rank handles: those of its own slice, or all of its replica's (redundantly with its TP peers). */
export type Scope = 'slice' | 'replica';

/** Where a rank stands in both mappings, and among the sources of its expert group. */
export interface RankPlace {
  readonly rank: number;
  readonly layout: Layout;
  readonly tp: number;
  readonly etp: number;
  readonly ep: number;
  readonly source: number;
}

const known = new WeakMap<Layout, Map<number, RankPlace>>();

/** The same object each time for a rank of a layout, so that what follows from it is found but once. */
export function rankPlace(layout: Layout, rank: number): RankPlace {
  let ranks = known.get(layout);
  if (ranks === undefined) known.set(layout, (ranks = new Map()));
  let place = ranks.get(rank);
  if (place === undefined) {
    const { tp, etp, ep } = coordinates(layout, rank);
    // in its expert group etp is fastest (`groupIndex` of the mesh)
    place = { rank, layout, tp, etp, ep, source: ep * layout.etp + etp };
    ranks.set(rank, place);
  }
  return place;
}

/** A number of rows of a rank. */
export interface RowRule {
  readonly name: string;
  /** False where the layout alone decides, so that it is known before any routing. */
  readonly routed: boolean;
  count(at: RankPlace, part: Part, routing: () => GroupRouting): number;
}

/**
 * A count of rows: fixed, or by a rule. `expected` is for balanced routing, `max` is what storage must allow for (every
 * row could come here).
 */
export type Size = number | { readonly rule: RowRule; readonly expected: number; readonly max: number };

/** Rows that a rank exchanges with each member of a group, in group order. */
export interface ExchangeCounts {
  readonly send: Int32Array;
  readonly receive: Int32Array;
}

/**
 * How many rows the members of a group exchange once routing is known. all_to_all: rows for and from each member.
 * all_gather: `send` holds the own contribution, `receive` each member's. reduce_scatter: `send` holds the rows for
 * each member, `receive` the own.
 */
export interface Exchange {
  readonly name: string;
  counts(at: RankPlace, part: Part, routing: GroupRouting): ExchangeCounts;
  /** The same where the layout alone decides, so that it is known before any routing. */
  fixed?(at: RankPlace, part: Part): ExchangeCounts;
}

/**
 * What an order of blocks depends on. Block expert * slices + slice holds the rows of one token slice for one expert.
 */
export interface OrderShape {
  readonly layout: Layout;
  /** Experts whose blocks there are: all of them at the sender, the local ones at the owner. */
  readonly experts: number;
  /** Slices whose rows there are: 1 or tp at the sender, etp * ep at the owner. */
  readonly slices: number;
}

/** In which order the blocks of a chunk lie in a communication buffer. The canonical order is 0, 1, 2 … */
export interface RowOrder {
  readonly name: string;
  blocks(shape: OrderShape): Int32Array;
}

/**
 * Rows of one source's tokens that have a kept pick among a range of experts, one a token, in token order
 * (`dispatchers/row-layout.ts`).
 */
export interface RowBlock extends ExpertRange {
  /** Place in the expert group of the rank whose tokens they are. */
  readonly source: number;
  /** All tokens of the slice, whatever their picks. */
  readonly every?: true;
}

export interface RowLayout {
  readonly name: string;
  /**
   * Blocks by member of the group over which they travel (one member where they do not), for a rank of an expert group
   * of `experts`.
   */
  readonly blocks: (at: RankPlace, experts: number) => readonly (readonly RowBlock[])[];
}

/**
 * One side of a move: whose rows there are, and whether they lie where all chunks' rows lie or where only those of this
 * chunk do.
 */
export interface RowSide {
  readonly layout: RowLayout;
  readonly whole: boolean;
}

/**
 * Rows of one buffer and of another that belong together: each fine row in the chunk has one coarse row, of the same
 * token.
 */
export interface RowPairs {
  readonly fine: RowSide;
  readonly coarse: RowSide;
  /** Fine rows that have no coarse row are left out instead of refused. */
  readonly partial?: true;
}

/** First token of slice i of n over T tokens. */
export const sliceStart = (tokens: number, index: number, of: number): number => Math.floor((tokens * index) / of);

/** Share i of n of a length, as `sliceStart` cuts it. */
export const sliceLength = (length: number, index: number, of: number): number =>
  sliceStart(length, index + 1, of) - sliceStart(length, index, of);

/** A length that is cut over TP, as a size: rows of the rank's share. */
export function tpShare(name: string, length: number, tp: number): Size {
  if (tp === 1) return length;
  const rule: RowRule = {
    name,
    routed: false,
    count: (at, { chunk, of }) => chunkRows(sliceLength(length, at.tp, tp), chunk, of),
  };
  return { rule, expected: length / tp, max: Math.ceil(length / tp) };
}

/** A token slice of a replica, as a size: `expected` T/tp, `max` the longest. */
export const sliceRows = (tokens: number, tp: number): Size => tpShare('slice', tokens, tp);

/** Rows of this rank's own token slice. */
export const sentRows: RowRule = {
  name: 'sent',
  routed: true,
  count: (at, part, routing) => routing().sent(at.source, part),
};

/** Rows that this rank's slice-wise all_to_all brings: those of the sources of its own etp index. */
export const receivedRows: RowRule = {
  name: 'received',
  routed: true,
  count: (at, part, routing) => {
    const known = routing();
    let rows = 0;
    for (let source = at.etp; source < at.layout.ep * at.layout.etp; source += at.layout.etp)
      rows += known.rows(source, at.ep, part);
    return rows;
  },
};

/** Rows of this rank's experts from all slices of the group: what its expert GEMMs run on. */
export const expertRows: RowRule = {
  name: 'expert',
  routed: true,
  count: (at, part, routing) => {
    const known = routing();
    let rows = 0;
    for (let source = 0; source < at.layout.ep * at.layout.etp; source++) rows += known.rows(source, at.ep, part);
    return rows;
  },
};

/**
 * Rows of all token slices of this rank's replica. TP peers are in one expert group wherever these rows are asked for
 * (see `dispatchers/returning-sliced.ts`).
 */
export const replicaRows: RowRule = {
  name: 'replica',
  routed: true,
  count: (at, part, routing) => {
    const known = routing();
    let rows = 0;
    for (let slice = 0; slice < at.layout.tp; slice++) rows += known.sent(at.source - at.tp + slice, part);
    return rows;
  },
};
