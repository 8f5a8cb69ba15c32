/**
 * Decomposes one collective of one group into flows between ranks.
 *
 *   direct: every pair exchanges at once, as Monta's own backends do and as NCCL does for all_to_all. all_reduce is a reduce_scatter
 *     and an all_gather; their flows are taken together, which is exact for the busiest port because both load the same pairs.
 *   ring: all_gather, reduce_scatter, all_reduce and broadcast move blocks around rings, n-1 hops each, as NCCL's Ring. A group that has
 *     g members on each of its nodes gets g rings that enter and leave every node through another member, as NCCL does to use every
 *     NIC; each carries 1/g. Every other node is walked backwards, so that a ring leaves a node where it enters the next (rail-aligned).
 *
 * Bytes a rank keeps for itself are not flows, nor are pairs that exchange nothing.
 */
import type { CollectiveName } from '../schedule/schedule.js';

export type Algorithm = 'direct' | 'ring';

/**
 * Bytes of a collective over n members.
 *   pairs: row-major n x n, member i's bytes for member j (all_to_all, send and receive)
 *   blocks: all_gather: member i's contribution; reduce_scatter: the block that member i keeps; all_reduce: the share of the buffer that
 *     member i reduces; broadcast: block 0 is the root's buffer, the root being member 0
 */
export type CollectiveLoad =
  | { readonly kind: 'pairs'; readonly bytes: Float64Array }
  | { readonly kind: 'blocks'; readonly bytes: Float64Array }
  | { readonly kind: 'nothing' };

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

/** Flows of a collective; `nodeOf` is used by rings only. */
export function decompose(
  name: CollectiveName,
  members: readonly number[],
  load: CollectiveLoad,
  algorithm: Algorithm,
  nodeOf: (rank: number) => number,
): Decomposition {
  if (members.length < 2 || load.kind === 'nothing') return { flows: [], rings: [], rounds: 1 };
  if (load.kind === 'pairs') {
    return { flows: directFlows(members, (i, j) => load.bytes[i * members.length + j] ?? 0), rings: [], rounds: 1 };
  }
  const block = (index: number): number => load.bytes[index] ?? 0;
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
      // An all_gather's block b stops before it would return to b; a reduce_scatter's starts right behind b and ends there.
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

/** Rings as orders of member indices; see the head of this file. */
function ringOrders(members: readonly number[], nodeOf: (rank: number) => number): number[][] {
  const byNode = new Map<number, number[]>();
  members.forEach((rank, index) => {
    const node = nodeOf(rank);
    const list = byNode.get(node);
    if (list) list.push(index);
    else byNode.set(node, [index]);
  });
  const nodes = [...byNode.values()];
  const perNode = nodes[0]?.length ?? 0;
  if (nodes.length === 1 || nodes.some((list) => list.length !== perNode)) return [nodes.flat()];
  return Array.from({ length: perNode }, (_, turn) =>
    nodes.flatMap((list, node) => {
      const turned = [...list.slice(turn), ...list.slice(0, turn)];
      return node % 2 === 0 ? turned : turned.reverse();
    }),
  );
}
