/**
 * Decomposes one collective of one group into flows between ranks.
 *
 *   direct: every pair exchanges at once, as Monta's own backends do and as NCCL does for all_to_all. all_reduce is a
 *     reduce_scatter and an all_gather; their flows are taken together, which is exact for the busiest port because
 *     both load the same pairs.
 *   ring: all_gather, reduce_scatter, all_reduce and broadcast move blocks around rings, n-1 hops each, as NCCL's
 *     Ring. A group that has g members on each of its nodes gets g rings that enter and leave every node through
 *     another member, as NCCL does to use every NIC; each carries 1/g. Every other node is walked backwards, so that a
 *     ring leaves a node where it enters the next (rail-aligned).
 *   tree: all_reduce over several nodes goes up and down two binary trees of nodes, half the buffer each, and along a
 *     chain inside every node, as NCCL's Tree. With g members on each node there are g such pairs, each with 1/g of
 *     the buffer on a rail of its own.
 *   switch: as tree between nodes; inside a node the switch reduces and multicasts, as NCCL's NVLS and NVLSTree. A
 *     member reads all members' sums of its 1/g and writes its 1/g to all: each sends and receives (1 + 1/g) times the
 *     buffer.
 *
 * Bytes a rank keeps for itself are not flows, nor are pairs that exchange nothing.
 */
import type { CollectiveName } from '../schedule/schedule.js';

export type Algorithm = 'direct' | 'ring' | 'tree' | 'switch';

export const algorithms: readonly Algorithm[] = ['direct', 'ring', 'tree', 'switch'];

/**
 * Bytes of a collective over n members.
 *   pairs: row-major n x n, member i's bytes for member j (all_to_all, send and receive)
 *   blocks: all_gather: member i's contribution; reduce_scatter: the block that member i keeps; all_reduce: the share
 *     of the buffer that member i reduces; broadcast: block 0 is the root's buffer, the root being member 0
 */
export type CollectiveLoad =
  | { readonly kind: 'pairs'; readonly bytes: Float64Array }
  | { readonly kind: 'blocks'; readonly bytes: Float64Array }
  | { readonly kind: 'nothing' };

/**
 * A load in which all pairs or blocks are alike, itself included where a member sends to itself; `message`: one sender,
 * one receiver. What it comes to is in proportion to `bytes`.
 */
export interface EvenLoad {
  readonly kind: 'even';
  readonly of: 'pairs' | 'blocks' | 'message';
  /** Of each pair or block. */
  readonly bytes: number;
}

/** An even load of one byte, written out for n members. */
export function unitLoad(of: EvenLoad['of'], n: number): CollectiveLoad {
  if (of === 'message') return { kind: 'pairs', bytes: Float64Array.of(0, 1, 0, 0) };
  return { kind: of, bytes: new Float64Array(of === 'pairs' ? n * n : n).fill(1) };
}

/** Bytes from one rank to another. */
export interface Flow {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

export interface Decomposition {
  /** At most one per ordered pair of ranks. */
  readonly flows: readonly Flow[];
  /** Rank orders of the rings, empty for direct. */
  readonly rings: readonly (readonly number[])[];
  /** Times that the latency of the exchange (direct) or of a trip of n-1 hops (ring) is paid one after another. */
  readonly rounds: number;
}

/** Bytes that each member sends, in member order. Their sum over all members is the collective's traffic. */
export function bytesSent(flows: readonly Flow[], members: readonly number[]): Float64Array {
  const sent = new Float64Array(members.length);
  const place = new Map(members.map((rank, index) => [rank, index]));
  for (const flow of flows) {
    const index = place.get(flow.from);
    if (index !== undefined) sent[index] = (sent[index] ?? 0) + flow.bytes;
  }
  return sent;
}

/**
 * Flows of a collective; `nodeOf` is used by rings and trees. Trees and switches serve all_reduce of groups with
 * equally many members on each node; anything else moves over rings then.
 */
export function decompose({
  name,
  members,
  load,
  algorithm,
  nodeOf,
}: {
  readonly name: CollectiveName;
  readonly members: readonly number[];
  readonly load: CollectiveLoad;
  readonly algorithm: Algorithm;
  readonly nodeOf: (rank: number) => number;
}): Decomposition {
  if (members.length < 2 || load.kind === 'nothing') return { flows: [], rings: [], rounds: 1 };
  if (load.kind === 'pairs') {
    return { flows: directFlows(members, (i, j) => load.bytes[i * members.length + j] ?? 0), rings: [], rounds: 1 };
  }
  const block = (index: number): number => load.bytes[index] ?? 0;
  if (algorithm === 'tree' || algorithm === 'switch') {
    const nodes = name === 'all_reduce' ? evenNodes(members, nodeOf) : undefined;
    if (nodes) return { flows: treeFlows(members, nodes, block, algorithm), rings: [], rounds: 2 };
    return ringFlows(name, members, block, nodeOf);
  }
  if (algorithm === 'ring') return ringFlows(name, members, block, nodeOf);
  switch (name) {
    case 'all_gather':
      return { flows: directFlows(members, (i) => block(i)), rings: [], rounds: 1 };
    case 'reduce_scatter':
      return { flows: directFlows(members, (_, j) => block(j)), rings: [], rounds: 1 };
    case 'all_reduce':
      return { flows: directFlows(members, (i, j) => block(i) + block(j)), rings: [], rounds: 2 };
    case 'broadcast':
      return { flows: directFlows(members, (i) => (i === 0 ? block(0) : 0)), rings: [], rounds: 1 };
    case 'all_to_all':
    case 'send':
    case 'receive':
    case 'barrier':
      throw new RangeError(`${name} takes bytes per pair, not per block`);
  }
}

function directFlows(members: readonly number[], bytes: (i: number, j: number) => number): Flow[] {
  const flows: Flow[] = [];
  members.forEach((from, i) => {
    members.forEach((to, j) => {
      const amount = i === j ? 0 : bytes(i, j);
      if (amount > 0) flows.push({ from, to, bytes: amount });
    });
  });
  return flows;
}

function ringFlows(
  name: CollectiveName,
  members: readonly number[],
  block: (index: number) => number,
  nodeOf: (rank: number) => number,
): Decomposition {
  const n = members.length;
  // broadcast starts at the root and ends before it, so it keeps the group's own order
  const orders = name === 'broadcast' ? [members.map((_, i) => i)] : ringOrders(members, nodeOf);
  let total = 0;
  for (let i = 0; i < n; i++) total += block(i);
  const amounts = new Map<number, number>();
  for (const ring of orders) {
    ring.forEach((from, position) => {
      const to = ring[(position + 1) % n] ?? from;
      // An all_gather's block b stops before it would return to b; a reduce_scatter's starts right behind b and ends
      // there.
      const gather = total - block(to);
      const scatter = total - block(from);
      const carried =
        name === 'all_gather'
          ? gather
          : name === 'reduce_scatter'
            ? scatter
            : name === 'all_reduce'
              ? gather + scatter
              : position === n - 1
                ? 0
                : block(0);
      if (carried > 0) amounts.set(from * n + to, (amounts.get(from * n + to) ?? 0) + carried / orders.length);
    });
  }
  const flows = [...amounts].map(([pair, bytes]) => ({
    from: members[Math.floor(pair / n)] ?? 0,
    to: members[pair % n] ?? 0,
    bytes,
  }));
  const rings = orders.map((ring) => ring.map((index) => members[index] ?? 0));
  return { flows, rings, rounds: name === 'all_reduce' ? 2 : 1 };
}

/** Member indices by node, in order of first appearance. */
function byNode(members: readonly number[], nodeOf: (rank: number) => number): number[][] {
  const nodes = new Map<number, number[]>();
  members.forEach((rank, index) => {
    const node = nodeOf(rank);
    const list = nodes.get(node);
    if (list) list.push(index);
    else nodes.set(node, [index]);
  });
  return [...nodes.values()];
}

/** Member indices by node where every node holds equally many, undefined otherwise. */
function evenNodes(members: readonly number[], nodeOf: (rank: number) => number): number[][] | undefined {
  const nodes = byNode(members, nodeOf);
  return nodes.every((list) => list.length === nodes[0]?.length) ? nodes : undefined;
}

/** Rings as orders of member indices; see the head of this file. */
function ringOrders(members: readonly number[], nodeOf: (rank: number) => number): number[][] {
  const nodes = byNode(members, nodeOf);
  const perNode = nodes[0]?.length ?? 0;
  if (nodes.length === 1 || nodes.some((list) => list.length !== perNode)) return [nodes.flat()];
  return Array.from({ length: perNode }, (_, turn) =>
    nodes.flatMap((list, node) => {
      const path = zigzag(list, turn);
      return node % 2 === 0 ? path : path.reverse();
    }),
  );
}

/**
 * A path over all of a list from place `turn`: one up, two down, three up … Over all turns of an even list every
 * ordered pair is a step of exactly one path, so that links between pairs share the load (Lucas's decomposition into
 * Hamiltonian paths).
 */
function zigzag(list: readonly number[], turn: number): number[] {
  const n = list.length;
  return Array.from({ length: n }, (_, step) => {
    const offset = step % 2 === 1 ? (step + 1) / 2 : -step / 2;
    return list[(turn + offset + n) % n] ?? 0;
  });
}

/**
 * Parent of a node in a binary tree in which every other node is a leaf; undefined for the root, node 0 (NCCL,
 * `ncclGetBtree`).
 */
function parentOf(node: number, nodes: number): number | undefined {
  if (node === 0) return undefined;
  const bit = node & -node;
  const up = (node ^ bit) | (bit << 1);
  return up >= nodes ? node ^ bit : up;
}

/**
 * Child and parent of every edge of two trees over n nodes. The second tree is the first one mirrored, or shifted by
 * one where n is odd, so that leaves of one are inner nodes of the other (NCCL, `ncclGetDtree`; Sanders et al.,
 * Parallel Computing 35(12), 2009).
 */
export function doubleTree(nodes: number): readonly (readonly [child: number, parent: number])[] {
  const edges: [number, number][] = [];
  const other = (node: number): number => (nodes % 2 === 0 ? nodes - 1 - node : (node + 1) % nodes);
  for (let node = 1; node < nodes; node++) {
    const parent = parentOf(node, nodes) ?? 0;
    edges.push([node, parent], [other(node), other(parent)]);
  }
  return edges;
}

function treeFlows(
  members: readonly number[],
  nodes: readonly (readonly number[])[],
  block: (index: number) => number,
  algorithm: 'tree' | 'switch',
): Flow[] {
  const perNode = nodes[0]?.length ?? 1;
  const total = members.reduce((sum, _, index) => sum + block(index), 0);
  if (total === 0) return [];
  const amounts = new Map<number, number>();
  const move = (from: number, to: number, bytes: number): void => {
    const key = from * members.length + to;
    amounts.set(key, (amounts.get(key) ?? 0) + bytes);
  };
  for (const list of nodes) {
    if (perNode === 1) break;
    list.forEach((from, position) => {
      const to = list[(position + 1) % perNode] ?? from;
      if (algorithm === 'switch') {
        move(from, to, total * (1 + 1 / perNode));
        return;
      }
      // every rail's chain starts at its own member, so that each pair of neighbours carries all rails but one
      const share = (total * (perNode - 1)) / perNode;
      move(from, to, share);
      move(to, from, share);
    });
  }
  for (const [child, parent] of doubleTree(nodes.length)) {
    for (let rail = 0; rail < perNode; rail++) {
      const [from, to] = [nodes[child]?.[rail] ?? 0, nodes[parent]?.[rail] ?? 0];
      move(from, to, total / perNode / 2);
      move(to, from, total / perNode / 2);
    }
  }
  return [...amounts].map(([pair, bytes]) => ({
    from: members[Math.floor(pair / members.length)] ?? 0,
    to: members[pair % members.length] ?? 0,
    bytes,
  }));
}
