/**
 * How NCCL moves a collective: which of its algorithms and protocols is fastest, as its own tuning model decides
 * (NVIDIA/nccl, src/graph/tuning.cc). All_to_all, send and receive exchange pairwise; the others have the choice of
 * ring, tree and, where switches reduce, NVLS. A protocol trades bandwidth for latency.
 *
 * The constants below are fitted on small and middle sizes of the nccl-tests logs in `calibration/fixtures/`;
 * docs/accuracy.md says how far they carry.
 */
import type { CollectiveName } from '../schedule/schedule.js';
import type { Fabric } from '../traffic/fabric.js';
import { doubleTree, type Algorithm } from '../traffic/flows.js';

export interface Protocol {
  readonly name: string;
  /** Share of the links' bandwidth that it reaches. */
  readonly bandwidth: number;
  /** What a hop inside a node, and one between nodes, takes beyond the tier's latency, seconds. */
  readonly innerHopSeconds: number;
  readonly outerHopSeconds: number;
}

/** Hops that take their tier's latency and no more: what a fixed algorithm pays. */
export const plainHops: Protocol = { name: 'plain', bandwidth: 1, innerHopSeconds: 0, outerHopSeconds: 0 };

/**
 * Of rings and trees. LL sends flags beside data, LL128 one flag in 128 bytes, Simple long pieces with a handshake
 * each.
 */
const protocols: readonly Protocol[] = [
  { name: 'LL', bandwidth: 0.12, innerHopSeconds: 0, outerHopSeconds: 0 },
  { name: 'LL128', bandwidth: 0.6, innerHopSeconds: 2.2e-6, outerHopSeconds: 3e-6 },
  { name: 'Simple', bandwidth: 1, innerHopSeconds: 4.6e-6, outerHopSeconds: 12e-6 },
];

/**
 * Of NVLS, whose hop inside a node is the whole way to the switch and back; between nodes in short and in long pieces.
 */
const switchProtocols: readonly Protocol[] = [
  { name: 'Simple, short pieces', bandwidth: 0.65, innerHopSeconds: 55e-6, outerHopSeconds: 0 },
  { name: 'Simple', bandwidth: 1, innerHopSeconds: 55e-6, outerHopSeconds: 58e-6 },
];

/**
 * What one more peer costs a pairwise exchange, by whether it sits in the same node (tier 0), seconds: its share of a
 * grouped send and receive.
 */
export const peerSeconds = (tier: number): number => (tier === 0 ? 0.15e-6 : 2.2e-6);

/** The algorithms that NCCL chooses from. */
export function ncclAlgorithms(name: CollectiveName, fabric: Fabric, members: readonly number[]): Algorithm[] {
  switch (name) {
    case 'all_to_all':
    case 'send':
    case 'receive':
    case 'barrier':
      return ['direct'];
    case 'all_reduce': {
      const nodes = nodesOf(fabric, members).size;
      return [
        ...(linked(fabric, members) ? (['direct'] as const) : []),
        'ring',
        ...(nodes > 1 ? (['tree'] as const) : []),
        // With one member a node, or two in one node, there is nothing for a switch to reduce.
        ...(fabric.reducingBytesPerSecond !== undefined && members.length > 2 && members.length > nodes
          ? (['switch'] as const)
          : []),
      ];
    }
    case 'all_gather':
    case 'reduce_scatter':
      return linked(fabric, members) ? ['direct', 'ring'] : ['ring'];
    case 'broadcast':
      return ['ring'];
  }
}

/**
 * Whether a group sits in one node whose devices are joined in pairs, without a switch: all links at once beat a ring
 * then.
 */
function linked(fabric: Fabric, members: readonly number[]): boolean {
  const [a, b, c] = members;
  if (a === undefined || b === undefined || c === undefined || nodesOf(fabric, members).size > 1) return false;
  return fabric.route(a, b).ports[0] !== fabric.route(a, c).ports[0];
}

export const protocolsOf = (algorithm: Algorithm): readonly Protocol[] =>
  algorithm === 'switch' ? switchProtocols : protocols;

/** Nodes of a group and how many of its members each holds. */
export function nodesOf(fabric: Fabric, members: readonly number[]): Map<number, number> {
  const nodes = new Map<number, number>();
  for (const rank of members) nodes.set(fabric.nodeOf(rank), (nodes.get(fabric.nodeOf(rank)) ?? 0) + 1);
  return nodes;
}

/** Latency of a hop from one member to another. */
function hop(fabric: Fabric, from: number, to: number, protocol: Protocol): number {
  const { tier, latencySeconds } = fabric.route(from, to);
  return latencySeconds + (tier === 0 ? protocol.innerHopSeconds : protocol.outerHopSeconds);
}

/** Each block takes all hops of the ring but one; the slowest block is the one that skips the cheapest hop. */
export function ringSeconds(fabric: Fabric, ring: readonly number[], protocol = plainHops): number {
  let sum = 0;
  let least = Infinity;
  ring.forEach((from, position) => {
    const seconds = hop(fabric, from, ring[(position + 1) % ring.length] ?? from, protocol);
    sum += seconds;
    least = Math.min(least, seconds);
  });
  return sum - least;
}

/** Up and down a tree of nodes, and along the chain (tree) or over the switch (switch) inside each. */
export function treeSeconds(
  fabric: Fabric,
  members: readonly number[],
  algorithm: 'tree' | 'switch',
  protocol: Protocol,
): number {
  const nodes = nodesOf(fabric, members);
  const perNode = members.length / nodes.size;
  const [first = 0] = members;
  const other = members.find((rank) => rank !== first && fabric.nodeOf(rank) === fabric.nodeOf(first));
  const far = members.find((rank) => fabric.nodeOf(rank) !== fabric.nodeOf(first));
  const inner = other === undefined ? 0 : hop(fabric, first, other, protocol);
  const outer = far === undefined ? 0 : hop(fabric, first, far, protocol);
  const inside = algorithm === 'switch' ? inner : 2 * (perNode - 1) * inner;
  return inside + 2 * treeDepth(nodes.size) * outer;
}

/** Edges from the root to the farthest node of the double tree. */
function treeDepth(nodes: number): number {
  const parents = new Map(doubleTree(nodes).filter((_, index) => index % 2 === 0));
  let depth = 0;
  for (let node = 0; node < nodes; node++) {
    let steps = 0;
    for (let at = parents.get(node); at !== undefined; at = parents.get(at)) steps += 1;
    depth = Math.max(depth, steps);
  }
  return depth;
}

/** Latency of a pairwise exchange for one member: the farthest peer's, and something for every peer. */
export function pairwiseSeconds(fabric: Fabric, rank: number, peers: readonly number[]): number {
  let farthest = 0;
  let sum = 0;
  for (const peer of peers) {
    const { tier, latencySeconds } = fabric.route(rank, peer);
    farthest = Math.max(farthest, latencySeconds);
    sum += peerSeconds(tier);
  }
  return farthest + sum;
}
