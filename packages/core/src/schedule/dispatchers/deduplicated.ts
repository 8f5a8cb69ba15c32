/**
 * Deduplicated, in two hops: one copy of a token travels over the rail to each node that it needs, (T/TP)*h*E[remote
 * nodes], and is copied there to every rank that holds one of its experts. Back: weighted sums over the picks of each
 * rank, added up a node, one row a token and node over the rail. DeepEP's normal kernels (arXiv 2412.19437, 3.2.2) and
 * HybridEP move the same rows.
 */
import { epOfPlace } from '../../layout/mesh.js';
import { groupNodes, type ChunkContext, type OutgoingHalf, type ReturningHalf } from './dispatcher.js';
import { addUp, copyBuffer, expandCopies, fanOut, hop, packCopies, sumExperts, summedTokens } from './emit-copies.js';
import { expertsAmong, expertsOf, nodePlace, type RowLayout } from './row-layout.js';

/** Over the rail, by node. */
const sentRail: RowLayout = {
  name: 'copies for nodes',
  blocks: (at, experts) =>
    nodePlace(at).nodes.map((ranks) => [{ source: at.source, ...expertsAmong(ranks, at, experts) }]),
};

const arrivedRail: RowLayout = {
  name: 'copies from nodes',
  blocks: (at, experts) => {
    const { nodes, node, mate } = nodePlace(at);
    const range = expertsAmong(nodes[node] ?? [], at, experts);
    return nodes.map((ranks) => [{ source: ranks[mate] ?? -1, ...range }]);
  },
};

/** Inside the node, by rank of the node. */
const sentNode: RowLayout = {
  name: 'copies for ranks of the node',
  blocks: (at, experts) => {
    const { nodes, node, mate } = nodePlace(at);
    return (nodes[node] ?? []).map((place) =>
      nodes.map((ranks) => ({ source: ranks[mate] ?? -1, ...expertsOf(epOfPlace(at.layout, place), at, experts) })),
    );
  },
};

const arrivedNode: RowLayout = {
  name: 'copies from ranks of the node',
  blocks: (at, experts) => {
    const { nodes, node } = nodePlace(at);
    const range = expertsOf(at.ep, at, experts);
    return (nodes[node] ?? []).map((_, mate) => nodes.map((ranks) => ({ source: ranks[mate] ?? -1, ...range })));
  },
};

const unsupported: OutgoingHalf['unsupported'] = ({ layout }) => {
  const nodes = groupNodes(layout);
  return typeof nodes === 'string' ? nodes : undefined;
};

/** Buffers on the way; where the group is on one node, or on one rank a node, a hop and its buffer fall away. */
const buffers = (c: ChunkContext, names: readonly [rail: string, arrived: string, node: string, end: string]) => {
  const { rail, node } = hops(c);
  const atNode = copyBuffer(c, names[3], arrivedNode);
  const forNode = node ? copyBuffer(c, names[2], sentNode) : { ...atNode, layout: sentNode };
  const forRail = rail ? copyBuffer(c, names[0], sentRail) : { ...forNode, layout: sentNode };
  return { forRail, atRail: rail ? copyBuffer(c, names[1], arrivedRail) : forRail, forNode, atNode };
};

/** Which hops there are. */
const hops = (c: ChunkContext): { rail: boolean; node: boolean } => {
  const nodes = groupNodes(c.shape.layout);
  if (typeof nodes === 'string') throw new RangeError(nodes);
  return { rail: nodes.nodes > 1, node: nodes.ranks > 1 };
};

const outgoing = (c: ChunkContext) => buffers(c, ['send', 'received', 'fan', 'gathered']);
const returning = (c: ChunkContext) => buffers(c, ['sums', 'mine', 'packed', 'partial']);

export const outgoingDeduplicated: OutgoingHalf = {
  name: 'deduplicated',
  scope: 'slice',
  picks: true,
  shared: true,
  unsupported,
  stages: [
    (c) => {
      const { forRail, atRail } = outgoing(c);
      packCopies(c, forRail);
      if (hops(c).rail) hop(c, { task: 'rail', group: 'rail', from: forRail, to: atRail });
    },
    (c) => {
      const { atRail, forNode, atNode } = outgoing(c);
      if (hops(c).rail) fanOut(c, 'fan', atRail, forNode);
      if (hops(c).node) hop(c, { task: 'node', group: 'node', from: forNode, to: atNode });
    },
    (c) => expandCopies(c, outgoing(c).atNode),
  ],
};

export const returningDeduplicated: ReturningHalf = {
  name: 'deduplicated',
  scope: () => 'slice',
  routing: () => 'slice',
  picks: true,
  unsupported,
  stages: [
    (c) => {
      const { atNode, forNode } = returning(c);
      sumExperts(c, atNode);
      if (hops(c).node) hop(c, { task: 'return.node', group: 'node', from: atNode, to: forNode });
    },
    (c) => {
      const { forNode, atRail, forRail } = returning(c);
      if (!hops(c).rail) return;
      addUp(c, 'sum.node', forNode, atRail);
      hop(c, { task: 'return.rail', group: 'rail', from: atRail, to: forRail });
    },
    (c) => addUp(c, 'sum.copies', returning(c).forRail, summedTokens(c)),
  ],
};
