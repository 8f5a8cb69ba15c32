/**
 * Where rows lie that are copies of tokens: the vocabulary of halves in which a token travels once for several of its
 * picks, or in several hops. A *block* holds the rows of one source's tokens that have a kept pick among a range of
 * experts, one row a token, in token order; a range of one expert is a block of the canonical order. A *row layout* is
 * a list of blocks for every member of a group, which tells how many rows a buffer holds, what each member of a
 * collective sends and gets, and how rows move from one buffer to another: a row of a block comes from the row of the
 * same token in a block of the same source whose range holds its own (a copy), or goes there (a sum).
 */
import { epOfPlace, expertNodes, sliceOfPlace } from '../../layout/mesh.js';
import type { ExpertRange, GroupRouting, Part } from '../../routing/group-routing.js';
import { chunkRows, whole } from '../../routing/group-routing.js';
import { memoized } from '../../units/index.js';
import type { MoeShape } from '../moe-shape.js';
import {
  rankPlace,
  sliceLength,
  type RowBlock,
  type RowLayout,
  type Exchange,
  type ExchangeCounts,
  type RankPlace,
  type RowRule,
  type Size,
} from '../rows.js';

export type { RowBlock, RowLayout, RowPairs, RowSide } from '../rows.js';

/** Rows of a part of a block. */
export function blockRows(block: RowBlock, at: RankPlace, part: Part, routing: GroupRouting): number {
  if (block.every !== true) return routing.copies(block.source, block, part);
  return chunkRows(sliceTokens(block.source, at, routing.tokens), part.chunk, part.of);
}

/** Tokens of the slice of a source in the expert group of a rank. */
export function sliceTokens(source: number, at: RankPlace, tokens: number | undefined): number {
  if (tokens === undefined) throw new RangeError('it is not known how many tokens a replica has');
  return sliceLength(tokens, sliceOfPlace(at.layout, at.rank - at.source, source), at.layout.tp);
}

/** Layouts of many blocks: those of the rank that was asked last are kept, since it is asked chunk by chunk. */
export function manyBlocks({ name, blocks }: RowLayout): RowLayout {
  let last: { readonly at: RankPlace; readonly experts: number; readonly of: ReturnType<typeof blocks> } | undefined;
  return {
    name,
    blocks: (at, experts) => {
      if (last?.at !== at || last.experts !== experts) last = { at, experts, of: blocks(at, experts) };
      return last.of;
    },
  };
}

const total = (blocks: readonly RowBlock[], at: RankPlace, part: Part, routing: GroupRouting): number =>
  blocks.reduce((rows, block) => rows + blockRows(block, at, part, routing), 0);

/** By rows, how many blocks have so many. */
type BlockSizes = ReadonlyMap<number, number>;

function blockSizes(blocks: readonly RowBlock[], at: RankPlace, routing: GroupRouting): BlockSizes {
  const sizes = new Map<number, number>();
  for (const block of blocks) {
    const rows = blockRows(block, at, whole, routing);
    sizes.set(rows, (sizes.get(rows) ?? 0) + 1);
  }
  return sizes;
}

/** What the members of a layout have: sizes that differ, and whose they are. */
interface MemberSizes {
  readonly sizes: readonly BlockSizes[];
  /** By member, place in `sizes`. */
  readonly of: readonly number[];
}

function sizesOfMembers(layout: RowLayout, at: RankPlace, routing: GroupRouting): MemberSizes {
  const sizes: BlockSizes[] = [];
  const known = new Map<string, number>();
  const of = layout.blocks(at, routing.experts).map((member) => {
    const own = blockSizes(member, at, routing);
    const key = [...own].join(' ');
    const place = known.get(key) ?? sizes.push(own) - 1;
    known.set(key, place);
    return place;
  });
  return { sizes, of };
}

/** Sizes of a layout's blocks by member: those of the rank that was asked last are kept. */
const memberSizes = memoized((layout: RowLayout) => {
  let last: { readonly at: RankPlace; readonly routing: GroupRouting; readonly members: MemberSizes } | undefined;
  return (at: RankPlace, routing: GroupRouting): MemberSizes => {
    if (last?.at !== at || last.routing !== routing)
      last = { at, routing, members: sizesOfMembers(layout, at, routing) };
    return last.members;
  };
});

/** Rows of a part of what each member has. */
function memberRows(layout: RowLayout, at: RankPlace, part: Part, routing: GroupRouting): number[] {
  if (!routing.cutsRows) return layout.blocks(at, routing.experts).map((member) => total(member, at, part, routing));
  const { sizes, of } = memberSizes(layout)(at, routing);
  const rowsOf = sizes.map((counts) => {
    let rows = 0;
    for (const [each, count] of counts) rows += count * chunkRows(each, part.chunk, part.of);
    return rows;
  });
  return of.map((place) => rowsOf[place] ?? 0);
}

/** Rows of all blocks; one object for a layout. */
const layoutRows = memoized((layout: RowLayout): RowRule => ({
  name: layout.name,
  routed: true,
  count: (at, part, routing) => memberRows(layout, at, part, routing()).reduce((rows, member) => rows + member, 0),
}));

const exchangesFrom = memoized((from: RowLayout) =>
  memoized((to: RowLayout): Exchange => ({
    name: `${from.name} to ${to.name}`,
    counts: (at, part, routing) => ({
      send: Int32Array.from(memberRows(from, at, part, routing)),
      receive: Int32Array.from(memberRows(to, at, part, routing)),
    }),
  })),
);

/** What a collective moves from one layout into another, both by members of its group; one object for a pair. */
export const layoutExchange = (from: RowLayout, to: RowLayout): Exchange => exchangesFrom(from)(to);

/** The same rows, of one member. */
export const joined = memoized(({ name, blocks }: RowLayout): RowLayout => ({
  name,
  blocks: (at, experts) => [blocks(at, experts).flat()],
}));

/** Experts of an EP index. */
export function expertsOf(owner: number, at: Pick<RankPlace, 'layout'>, experts: number): ExpertRange {
  const local = experts / at.layout.ep;
  return { start: owner * local, end: (owner + 1) * local };
}

const counted = <T>(length: number, item: (index: number) => T): T[] => Array.from({ length }, (_, i) => item(i));

/** All sources of the expert group. */
export const sourcesOf = ({ layout }: Pick<RankPlace, 'layout'>): number[] =>
  counted(layout.etp * layout.ep, (source) => source);

/** The tokens of the own slice. */
export const ownTokens: RowLayout = {
  name: 'own tokens',
  blocks: (at, experts) => [[{ source: at.source, start: 0, end: experts, every: true }]],
};

/** The tokens of all slices of the expert group, by member. */
export const groupTokens: RowLayout = {
  name: 'tokens of the group',
  blocks: (at, experts) => sourcesOf(at).map((source) => [{ source, start: 0, end: experts, every: true }]),
};

/** The rows of this rank's experts in canonical order: [local expert][source]. */
export const canonicalRows: RowLayout = {
  name: 'canonical rows',
  blocks: (at, experts) => {
    const { start, end } = expertsOf(at.ep, at, experts);
    return [
      counted(end - start, (e) =>
        sourcesOf(at).map((source) => ({ source, start: start + e, end: start + e + 1 })),
      ).flat(),
    ];
  },
};

/** The tokens of all slices of this rank's replica, in their order, the slices outside of the expert group too. */
export const replicaTokens: RowLayout = {
  name: 'tokens of the replica',
  blocks: (at, experts) => [
    counted(at.layout.tp, (slice) => ({ source: at.source - at.tp + slice, start: 0, end: experts, every: true })),
  ],
};

/** Whether the tokens of a source are those of this rank's replica. */
export const ownReplica = (at: RankPlace, source: number): boolean => {
  const first = at.source - at.tp;
  return source >= first && source < first + at.layout.tp;
};

/** Every rank's tokens for all ranks of the expert group, known from the layout alone. */
export const tokenGather = memoized(({ tokens }: MoeShape): Exchange => {
  const fixed = (at: RankPlace, { chunk, of }: Part): ExchangeCounts => {
    const receive = Int32Array.from(sourcesOf(at), (source) => chunkRows(sliceTokens(source, at, tokens), chunk, of));
    return { send: receive.slice(at.source, at.source + 1), receive };
  };
  return { name: 'tokens', counts: fixed, fixed };
});

/** Tokens of the expert group. */
export const groupTokenRows = memoized(({ tokens }: MoeShape): RowRule => ({
  name: 'tokens of the group',
  routed: false,
  count: (at, { chunk, of }) => {
    const { tp, etp, ep } = at.layout;
    // where slices are equally long it is the same for all ranks, of which there may be many
    if (tokens % tp === 0) return etp * ep * chunkRows(tokens / tp, chunk, of);
    return sourcesOf(at).reduce((rows, source) => rows + chunkRows(sliceTokens(source, at, tokens), chunk, of), 0);
  },
}));

/** Place among the ranks of its node, and the nodes of the expert group. */
export interface NodePlace {
  /** Places in the expert group by node, ascending; every node has equally many. */
  readonly nodes: readonly (readonly number[])[];
  readonly node: number;
  readonly mate: number;
}

const places = new WeakMap<RankPlace, NodePlace>();

/** Where a rank stands among the nodes of its expert group. Throws `InputError` for a layout that is not placed. */
export function nodePlace(at: RankPlace): NodePlace {
  let place = places.get(at);
  if (place === undefined) {
    const nodes = expertNodes(at.layout, at.rank).map(({ sources }) => sources);
    const node = nodes.findIndex((sources) => sources.includes(at.source));
    place = { nodes, node, mate: nodes[node]?.indexOf(at.source) ?? -1 };
    places.set(at, place);
  }
  return place;
}

/** Experts with a shard on any of these places of the expert group, which follow one another. */
export function expertsAmong(sources: readonly number[], at: RankPlace, experts: number): ExpertRange {
  const owned = (place = 0): ExpertRange => expertsOf(epOfPlace(at.layout, place), at, experts);
  return { start: owned(sources[0]).start, end: owned(sources.at(-1)).end };
}

const reached = (from: number, range: number, picks: number): number => {
  // P(no pick among the range) when k different experts are drawn evenly.
  let missed = 1;
  for (let i = 0; i < picks; i++) missed *= Math.max(0, from - range - i) / (from - i);
  return 1 - missed;
};

const sizesOf = memoized((shape: MoeShape) => memoized((layout: RowLayout) => newSize(layout, shape)));

/**
 * Rows of a layout as a size: `expected` when routing is even, `max` when every token could be there. One object for a
 * layout of a shape.
 */
export const layoutSize = (layout: RowLayout, shape: MoeShape): Size => sizesOf(shape)(layout);

function newSize(layout: RowLayout, { layout: ranks, tokens, topK, experts }: MoeShape): Size {
  const blocks = layout.blocks(rankPlace(ranks, 0), experts).flat();
  const perSource = new Map<number, number>();
  let expected = 0;
  for (const { source, start, end, every } of blocks) {
    perSource.set(source, (perSource.get(source) ?? 0) + 1);
    expected += (tokens / ranks.tp) * (every === true ? 1 : reached(experts, end - start, topK));
  }
  const copies = [...perSource.values()].reduce((sum, count) => sum + Math.min(count, topK), 0);
  return { rule: layoutRows(layout), expected, max: copies * Math.ceil(tokens / ranks.tp) };
}
