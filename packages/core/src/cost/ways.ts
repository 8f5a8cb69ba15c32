/**
 * The ways to move a collective: what its flows do to ports, and its latencies. For even loads everything is in
 * proportion to the bytes, so it is worked out once for a byte, a group and an algorithm.
 */
import type { CollectiveName } from '../schedule/schedule.js';
import type { Fabric, FabricRoute } from '../traffic/fabric.js';
import { decompose, unitLoad, type Algorithm, type CollectiveLoad, type EvenLoad } from '../traffic/flows.js';
import { maxOf, memoized } from '../units/index.js';
import { exchangeGrid, gridLatencies, gridPortSeconds, type ExchangeGrid } from './exchange-grid.js';
import { ncclAlgorithms, pairwiseSeconds, plainHops, protocolsOf, ringSeconds, treeSeconds } from './nccl.js';
import type { Protocol } from './nccl.js';
import type { PricedFlow } from './priced-flow.js';

/** How an algorithm moves a load. */
export interface Move {
  readonly algorithm: Algorithm;
  /** Where so many ranks before move the same in the same way: their move, and how far they are. */
  readonly like?: { readonly move: Move; readonly members: readonly number[]; readonly ranks: number };
  /** Where few of its flows stand for all. */
  readonly grid?: ExchangeGrid;
  readonly flows: readonly PricedFlow[];
  readonly rings: readonly (readonly number[])[];
  readonly rounds: number;
  /** What its busiest port needs. */
  readonly portSeconds: number;
  /** Latencies that were worked out, by protocol. */
  readonly latencies: Map<string, Float64Array>;
}

export interface MoveRequest {
  readonly fabric: Fabric;
  readonly name: CollectiveName;
  readonly members: readonly number[];
}

/** Way of a collective that was chosen. */
export interface Way {
  readonly move: Move;
  /** What the flows of `move` are to be multiplied with to be those of the load; and their work besides. */
  readonly bytesScale: number;
  readonly workScale: number;
  /** Per member. */
  readonly latencies: Float64Array;
  readonly detail: string;
}

/** The port that needs longest to carry these flows. */
export function busiestPort(fabric: Fabric, flows: readonly PricedFlow[]): { port: number; seconds: number } {
  const work = new Map<number, number>();
  for (const flow of flows) {
    for (const port of flow.route.ports) work.set(port, (work.get(port) ?? 0) + flow.work);
  }
  let busiest = { port: -1, seconds: 0 };
  for (const [port, amount] of work) {
    const seconds = amount / (fabric.ports[port]?.bytesPerSecond ?? NaN);
    if (seconds > busiest.seconds) busiest = { port, seconds };
  }
  return busiest;
}

/**
 * By how much a byte takes more of its ports than its size: cross-rail traffic, and what a reducing switch does not
 * reach.
 */
function slowdownOf(fabric: Fabric, algorithm: Algorithm, route: FabricRoute): number {
  if (algorithm !== 'switch' || route.tier !== 0 || fabric.reducingBytesPerSecond === undefined) return route.slowdown;
  const port = fabric.ports[route.ports[0] ?? 0]?.bytesPerSecond ?? fabric.reducingBytesPerSecond;
  return port / fabric.reducingBytesPerSecond;
}

function moveOf({ fabric, name, members }: MoveRequest, load: CollectiveLoad, algorithm: Algorithm): Move {
  const nodeOf = (rank: number): number => fabric.nodeOf(rank);
  const { flows: parts, rings, rounds } = decompose({ name, members, load, algorithm, nodeOf });
  const flows = parts.map((flow) => {
    const route = fabric.route(flow.from, flow.to);
    const { from, to, bytes } = flow;
    return { from, to, bytes, route, work: bytes * slowdownOf(fabric, algorithm, route) };
  });
  return { algorithm, flows, rings, rounds, portSeconds: busiestPort(fabric, flows).seconds, latencies: new Map() };
}

/** The move of one byte from every member to every other, by few of its flows; undefined where they are not alike. */
function gridMove(request: MoveRequest, load: CollectiveLoad, algorithm: Algorithm): Move | undefined {
  const { fabric, members } = request;
  const grid = exchangeGrid(fabric, members);
  if (grid === undefined) return undefined;
  let flows: readonly PricedFlow[] | undefined;
  return {
    algorithm,
    rings: [],
    rounds: 1,
    portSeconds: gridPortSeconds(fabric, grid),
    latencies: new Map(),
    grid,
    // many, and mostly not asked for
    get flows() {
      return (flows ??= moveOf(request, load, algorithm).flows);
    },
  };
}

/** How an algorithm moves an even load of one byte between members that are no other group's. */
function firstMove(request: MoveRequest, of: EvenLoad['of'], algorithm: Algorithm): Move {
  const load = unitLoad(of, request.members.length);
  // pairs exchange directly whatever the algorithm; trees and switches have latencies and slowdowns of their own
  const pairs = of === 'pairs' && (algorithm === 'direct' || algorithm === 'ring');
  const grid = pairs ? gridMove(request, load, algorithm) : undefined;
  return grid ?? moveOf(request, load, algorithm);
}

/** By fabric and group (the very array), then name, load and algorithm. */
const unitMoves = new WeakMap<Fabric, WeakMap<readonly number[], Map<string, Move>>>();

/** How an algorithm moves an even load of one byte. The members are taken as they are: one array, one group. */
export function unitMove(request: MoveRequest, of: EvenLoad['of'], algorithm: Algorithm): Move {
  const { fabric, members } = request;
  let groups = unitMoves.get(fabric);
  if (groups === undefined) unitMoves.set(fabric, (groups = new WeakMap()));
  let moves = groups.get(members);
  if (moves === undefined) groups.set(members, (moves = new Map()));
  const key = `${request.name} ${of} ${algorithm}`;
  let move = moves.get(key);
  if (move === undefined) {
    const origin = originOf(fabric)(members);
    move = origin === members ? firstMove(request, of, algorithm) : undefined;
    move ??= movedFrom(unitMove({ ...request, members: origin }, of, algorithm), origin, request);
    moves.set(key, move);
  }
  return move;
}

/** The first group that was asked for of those that are the same but for where they begin in the network. */
const originOf = memoized((fabric: Fabric) => {
  const origins = new Map<string, readonly number[]>();
  return (members: readonly number[]): readonly number[] => {
    const [first = 0] = members;
    const key = `${first % fabric.repeats} ${members.map((rank) => rank - first).join()}`;
    const origin = origins.get(key) ?? members;
    origins.set(key, origin);
    return origin;
  };
});

/** The move of a group as that of another, whose flows are those of the other between other ranks. */
function movedFrom(move: Move, from: readonly number[], { fabric, members }: MoveRequest): Move {
  const ranks = (members[0] ?? 0) - (from[0] ?? 0);
  const { algorithm, rounds, portSeconds, latencies } = move;
  let flows: readonly PricedFlow[] | undefined;
  return {
    algorithm,
    rounds,
    portSeconds,
    latencies,
    like: { move, members: from, ranks },
    rings: move.rings.map((ring) => ring.map((rank) => rank + ranks)),
    // many, and mostly not asked for
    get flows() {
      flows ??= move.flows.map((flow) => {
        const [sender, receiver] = [flow.from + ranks, flow.to + ranks];
        return { ...flow, from: sender, to: receiver, route: fabric.route(sender, receiver) };
      });
      return flows;
    },
  };
}

/** The fastest of the ways that an algorithm allows; `nccl` chooses among several. */
export function fastestWay(request: MoveRequest, load: CollectiveLoad | EvenLoad, given: Algorithm | 'nccl'): Way {
  const { fabric, name, members } = request;
  let best: { readonly way: Way; readonly seconds: number } | undefined;
  const consider = (way: Way, seconds: number): void => {
    if (best === undefined || seconds < best.seconds) best = { way, seconds };
  };
  for (const algorithm of given === 'nccl' ? ncclAlgorithms(name, fabric, members) : [given]) {
    const even = load.kind === 'even';
    const move = even ? unitMove(request, load.of, algorithm) : moveOf(request, load, algorithm);
    const scale = even ? load.bytes : 1;
    const origin = move.like?.move ?? move;
    const moving = name === 'barrier' || (scale > 0 && (origin.grid !== undefined || origin.flows.length > 0));
    const port = move.portSeconds * scale;
    if (given !== 'nccl' || algorithm === 'direct' || !moving) {
      const latencies = moving ? plainLatencies(request, move, given === 'nccl') : new Float64Array(members.length);
      const seconds = port + Math.max(0, maxOf(latencies));
      consider({ move, bytesScale: scale, workScale: scale, latencies, detail: algorithm }, seconds);
      continue;
    }
    for (const protocol of protocolsOf(algorithm)) {
      const latencies = protocolLatencies(request, move, protocol);
      const workScale = scale / protocol.bandwidth;
      const seconds = port / protocol.bandwidth + (latencies[0] ?? 0);
      const detail = `NCCL ${algorithm}, ${protocol.name}`;
      consider({ move, bytesScale: scale, workScale, latencies, detail }, seconds);
    }
  }
  if (!best) throw new RangeError(`no algorithm moves ${name}`);
  return best.way;
}

function cached(move: Move, key: string, compute: () => Float64Array): Float64Array {
  let latencies = move.latencies.get(key);
  if (latencies === undefined) move.latencies.set(key, (latencies = compute()));
  return latencies;
}

/** Of rings and trees under one of NCCL's protocols: the same for all members. */
const protocolLatencies = ({ fabric, members }: MoveRequest, move: Move, protocol: Protocol): Float64Array =>
  cached(move, `${protocol.name} ${protocol.bandwidth}`, () => {
    const { algorithm, rings, rounds } = move;
    const latency =
      algorithm === 'tree' || algorithm === 'switch'
        ? treeSeconds(fabric, members, algorithm, protocol)
        : rounds * maxOf(rings.map((ring) => ringSeconds(fabric, ring, protocol)));
    return new Float64Array(members.length).fill(latency);
  });

/** Of a fixed algorithm, and of direct exchanges; `pairwise`: every peer costs something besides. */
const plainLatencies = (request: MoveRequest, move: Move, pairwise: boolean): Float64Array =>
  cached(move, pairwise ? 'pairwise' : 'plain', () => {
    const { grid } = move.like?.move ?? move;
    return grid === undefined ? latenciesOf(request, move, pairwise) : gridLatencies(grid, pairwise);
  });

function latenciesOf({ fabric, name, members }: MoveRequest, move: Move, pairwise: boolean): Float64Array {
  const { flows, rings, rounds, algorithm } = move;
  const latencies = new Float64Array(members.length);
  if (members.length < 2) return latencies;
  if (rings.length > 0) return latencies.fill(rounds * maxOf(rings.map((ring) => ringSeconds(fabric, ring))));
  if (algorithm === 'tree' || algorithm === 'switch')
    return latencies.fill(treeSeconds(fabric, members, algorithm, plainHops));
  const peers: number[][] = members.map(() => []);
  const place = new Map(members.map((rank, index) => [rank, index]));
  if (name === 'barrier') members.forEach((rank, i) => (peers[i] = members.filter((other) => other !== rank)));
  for (const { from, to } of flows) {
    peers[place.get(from) ?? 0]?.push(to);
    peers[place.get(to) ?? 0]?.push(from);
  }
  members.forEach((rank, i) => {
    const all = [...new Set(peers[i])];
    const farthest = Math.max(0, maxOf(all.map((peer) => fabric.route(rank, peer).latencySeconds)));
    latencies[i] = rounds * (pairwise ? pairwiseSeconds(fabric, rank, all) : farthest);
  });
  return latencies;
}
