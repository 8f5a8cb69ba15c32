/**
 * Hierarchical, in two hops without deduplication: rows go first to the rank of the own node that stands where their
 * expert's rank stands on its node, then over the rail, in messages as many times larger as a node has ranks. Then as
 * `sliced`: all_gather over etp. Back: the mirror. (Tutel's 2DH, arXiv 2206.03382, 4.3; HetuMoE.)
 */
import { epOfPlace, etpOfPlace } from '../../layout/mesh.js';
import { groupNodes, returnedRegion, type ChunkContext, type OutgoingHalf, type RowsHalf } from './dispatcher.js';
import { sentSize } from '../moe-shape.js';
import { rankPlace, type RankPlace, type RowOrder } from '../rows.js';
import { pack } from './emit.js';
import {
  copyBuffer,
  expandCopies,
  fanOut,
  gatherCopies,
  hop,
  packExperts,
  scatterSums,
  type CopyBuffer,
} from './emit-copies.js';
import { expertsOf, manyBlocks, nodePlace, type RowBlock } from './row-layout.js';

/**
 * Rows of a source for the experts of the rank at a place, which it serves when both have the same etp index: one block
 * an expert.
 */
function rowsFor(at: RankPlace, experts: number, source = -1, place = -1): RowBlock[] {
  if (etpOfPlace(at.layout, source) !== etpOfPlace(at.layout, place)) return [];
  const { start, end } = expertsOf(epOfPlace(at.layout, place), at, experts);
  return Array.from({ length: end - start }, (_, e) => ({ source, start: start + e, end: start + e + 1 }));
}

const sentNode = manyBlocks({
  name: 'rows for ranks of the node',
  blocks: (at, experts) => {
    const { nodes, node } = nodePlace(at);
    return (nodes[node] ?? []).map((_, mate) => nodes.flatMap((ranks) => rowsFor(at, experts, at.source, ranks[mate])));
  },
});

const arrivedNode = manyBlocks({
  name: 'rows from ranks of the node',
  blocks: (at, experts) => {
    const { nodes, node, mate } = nodePlace(at);
    return (nodes[node] ?? []).map((source) => nodes.flatMap((ranks) => rowsFor(at, experts, source, ranks[mate])));
  },
});

const sentRail = manyBlocks({
  name: 'rows for nodes',
  blocks: (at, experts) => {
    const { nodes, node, mate } = nodePlace(at);
    return nodes.map((ranks) => (nodes[node] ?? []).flatMap((source) => rowsFor(at, experts, source, ranks[mate])));
  },
});

const arrivedRail = manyBlocks({
  name: 'rows from nodes',
  blocks: (at, experts) => {
    const { nodes } = nodePlace(at);
    return nodes.map((ranks) => ranks.flatMap((source) => rowsFor(at, experts, source, at.source)));
  },
});

const gathered = manyBlocks({
  name: 'rows of the shards',
  blocks: (at, experts) =>
    Array.from({ length: at.layout.etp }, (_, member) =>
      arrivedRail.blocks(rankPlace(at.layout, at.rank - at.etp + member), experts).flat(),
    ),
});

/** As `sentNode` has the experts: by the rank's place on its node, then by node. */
const sentOrder: RowOrder = {
  name: 'hierarchical',
  blocks: ({ layout, experts }) => {
    const at = rankPlace(layout, 0);
    return Int32Array.from(sentNode.blocks(at, experts).flatMap((member) => member.map(({ start }) => start)));
  },
};

const unsupported: OutgoingHalf['unsupported'] = ({ layout }) => {
  const nodes = groupNodes(layout);
  if (typeof nodes === 'string') return nodes;
  if (nodes.nodes === 1 || nodes.ranks === 1)
    return 'a hierarchical exchange has two hops: several nodes of several ranks';
  return nodes.ranks % layout.etp === 0
    ? undefined
    : `a hierarchical exchange needs whole experts on a node: etp (${layout.etp}) must divide the group's ranks a ` +
        `node (${nodes.ranks})`;
};

/** A buffer for each end of each hop but the tokens' end. */
const buffers = (c: ChunkContext, names: readonly [atNode: string, forRail: string, atRail: string, end: string]) => {
  const atRail = copyBuffer(c, names[2], arrivedRail);
  return {
    atNode: copyBuffer(c, names[0], arrivedNode),
    forRail: copyBuffer(c, names[1], sentRail),
    atRail,
    end: c.shape.layout.etp > 1 ? copyBuffer(c, names[3], gathered) : atRail,
  };
};

const outgoing = (c: ChunkContext) => buffers(c, ['in.node', 'rail', 'received', 'gathered']);
const sent = (c: ChunkContext): CopyBuffer => copyBuffer(c, 'send', sentNode);
const returning = (c: ChunkContext) => buffers(c, ['back.node', 'back.rail', 'mine', 'packed']);

export const outgoingHierarchical: OutgoingHalf = {
  name: 'hierarchical',
  scope: 'slice',
  unsupported,
  stages: [
    (c) => {
      pack(c, { scope: 'slice', order: sentOrder, rows: sentSize(c.shape), to: sent(c).region });
      hop(c, { task: 'node', group: 'node', from: sent(c), to: outgoing(c).atNode });
    },
    (c) => {
      const { atNode, forRail, atRail } = outgoing(c);
      fanOut(c, 'sort', atNode, forRail);
      hop(c, { task: 'rail', group: 'rail', from: forRail, to: atRail });
    },
    (c) => {
      const { atRail, end } = outgoing(c);
      if (c.shape.layout.etp > 1) gatherCopies(c, { task: 'all_gather', group: 'etp', from: atRail, to: end });
    },
    (c) => expandCopies(c, outgoing(c).end),
  ],
};

const returned = (c: Parameters<RowsHalf['stages'][number]>[0]): CopyBuffer => ({
  layout: sentNode,
  region: c.builder.region(returnedRegion(returningHierarchical, c.shape, c.activation, c.saved)),
});

export const returningHierarchical: RowsHalf = {
  name: 'hierarchical',
  scope: () => 'slice',
  routing: () => 'slice',
  unsupported,
  returned: () => ({ scope: 'slice', order: sentOrder, size: sentSize }),
  stages: [
    (c) => {
      const { end, atRail } = returning(c);
      packExperts(c, end);
      if (c.shape.layout.etp > 1) scatterSums(c, { task: 'reduce_scatter', group: 'etp', from: end, to: atRail });
    },
    (c) => {
      const { atRail, forRail, atNode } = returning(c);
      hop(c, { task: 'return.rail', group: 'rail', from: atRail, to: forRail });
      fanOut(c, 'sort.back', forRail, atNode);
    },
    (c) => hop(c, { task: 'return.node', group: 'node', from: returning(c).atNode, to: returned(c) }),
  ],
};
