/** Prices one collective: its flows on ports, its latency, and the closed form for the time that it takes alone. */
import type { CollectiveName } from '../schedule/schedule.js';
import { knownEstimate, weakestBasis } from './estimate.js';
import type { Basis, KnownEstimate } from './estimate.js';
import type { Fabric, FabricRoute } from '../traffic/fabric.js';
import { decompose } from '../traffic/flows.js';
import type { Algorithm, CollectiveLoad, Flow } from '../traffic/flows.js';
import type { CostModel } from './model.js';
import { ncclAlgorithms, nodesOf, pairwiseSeconds, plainHops, protocolsOf, ringSeconds, treeSeconds } from './nccl.js';
import { maxOf } from '../units/index.js';

/** A flow and the ports it occupies. */
export interface PricedFlow extends Flow {
  readonly route: FabricRoute;
  /** Bytes that it takes on each of its ports: its own, times the slowdown of its route and what measurements say. */
  readonly work: number;
}

export interface PricedCollective {
  readonly flows: readonly PricedFlow[];
  /** Per member, seconds from its last byte to its end. */
  readonly latencySeconds: Float64Array;
  readonly basis: Basis;
  /** The measurements that cover it; or the cluster file, and why a calibration does not. */
  readonly detail: string;
  /** Relative error to expect, where the calibration that covers it tells. */
  readonly expectedError?: number;
}

/** A closed-form time, and what decides it. */
export interface CollectiveEstimate extends KnownEstimate {
  /** Index of the busiest port, -1 when no byte moves. */
  readonly port: number;
  readonly portSeconds: number;
  readonly latencySeconds: number;
}

/** A collective to price. */
export interface CollectiveRequest {
  readonly model: CostModel;
  readonly fabric: Fabric;
  readonly name: CollectiveName;
  /** Global ranks, in group order. */
  readonly members: readonly number[];
  readonly load: CollectiveLoad;
}

/** One way to move a collective: what its flows do to ports, and its latencies. */
interface Way {
  readonly algorithm: Algorithm;
  readonly flows: readonly PricedFlow[];
  /** Per member. */
  readonly latencies: Float64Array;
  readonly detail: string;
}

/**
 * Flows and latencies of a collective.
 *
 * Without measured curves: every flow takes its bytes on each port of its route. With a fixed algorithm latency is that
 * of the farthest peer (direct), of a trip of n-1 hops around the ring, or of a trip up and down the tree, times the
 * rounds; with `nccl` the fastest of NCCL's algorithms and protocols is taken. With curves, the work of the flows is
 * scaled so that a balanced collective of the same size, alone, takes exactly the measured time; ports are then shared
 * and skew counts as without them.
 */
export function priceCollective(request: CollectiveRequest): PricedCollective {
  const { model, fabric, name, members, load } = request;
  const { collectiveOverheadSeconds } = model.inputs;
  const { algorithm, flows, latencies, detail } = fastestWay(request);
  const measured = fromCurves(model, fabric, { name, members, load, algorithm, latencies });
  if (!measured || 'uncovered' in measured) {
    const why = measured ? `; not calibrated: ${measured.uncovered}` : '';
    return {
      flows,
      latencySeconds: latencies.map((seconds) => seconds + collectiveOverheadSeconds),
      basis: 'datasheet',
      detail: `latency and bandwidth of the cluster file, ${detail}${why}`,
    };
  }
  return {
    flows: flows.map((flow) => ({
      ...flow,
      work: flow.bytes * slowdownOf(fabric, algorithm, flow.route) * measured.scale,
    })),
    latencySeconds: latencies.fill(measured.latencySeconds),
    basis: measured.basis,
    detail: measured.detail,
    ...(measured.expectedError === undefined ? {} : { expectedError: measured.expectedError }),
  };
}

/** How a collective moves; `traffic` counts bytes with it. */
export const collectiveAlgorithm = (request: CollectiveRequest): Algorithm => fastestWay(request).algorithm;

/** The fastest of the ways that the model's algorithm allows. */
function fastestWay({ model, fabric, name, members, load }: CollectiveRequest): Way {
  const given = model.inputs.algorithm;
  const nodeOf = (rank: number): number => fabric.nodeOf(rank);
  let best: { readonly way: Way; readonly seconds: number } | undefined;
  for (const algorithm of given === 'nccl' ? ncclAlgorithms(name, fabric, members) : [given]) {
    const { flows: parts, rings, rounds } = decompose({ name, members, load, algorithm, nodeOf });
    const flows = parts.map((flow) => {
      const route = fabric.route(flow.from, flow.to);
      return { ...flow, route, work: flow.bytes * slowdownOf(fabric, algorithm, route) };
    });
    const moving = name === 'barrier' || flows.length > 0;
    const port = busiestPort(fabric, flows).seconds;
    if (given !== 'nccl' || algorithm === 'direct' || !moving) {
      const latencies = moving
        ? latenciesOf(fabric, { name, members, flows, rings, rounds, algorithm, pairwise: given === 'nccl' })
        : new Float64Array(members.length);
      best = { way: { algorithm, flows, latencies, detail: algorithm }, seconds: port + Math.max(0, maxOf(latencies)) };
      continue;
    }
    for (const protocol of protocolsOf(algorithm)) {
      const latency =
        algorithm === 'tree' || algorithm === 'switch'
          ? treeSeconds(fabric, members, algorithm, protocol)
          : rounds * maxOf(rings.map((ring) => ringSeconds(fabric, ring, protocol)));
      const seconds = port / protocol.bandwidth + latency;
      if (best && best.seconds <= seconds) continue;
      const latencies = new Float64Array(members.length).fill(latency);
      const scaled = flows.map((flow) => ({ ...flow, work: flow.work / protocol.bandwidth }));
      best = { seconds, way: { algorithm, flows: scaled, latencies, detail: `NCCL ${algorithm}, ${protocol.name}` } };
    }
  }
  if (!best) throw new RangeError(`no algorithm moves ${name}`);
  return best.way;
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

/** Time of one collective alone: busiest port over all tiers that it crosses, plus the largest latency. */
export function collectiveSeconds(fabric: Fabric, priced: PricedCollective): CollectiveEstimate {
  return concurrentSeconds(fabric, [priced]);
}

/**
 * Time of several groups' collectives that start together (all expert groups dispatching at once, say): the busiest
 * port under all of them, plus the largest latency. A lower bound of what max-min sharing gives, and equal to it when
 * every flow crosses the busiest port or is through before it.
 */
export function concurrentSeconds(fabric: Fabric, collectives: readonly PricedCollective[]): CollectiveEstimate {
  const { port, seconds } = busiestPort(
    fabric,
    collectives.flatMap((c) => c.flows),
  );
  let latencySeconds = 0;
  const basis = weakestBasis(collectives.map((priced) => priced.basis));
  const weakest = collectives.find((priced) => priced.basis === basis);
  for (const priced of collectives) latencySeconds = Math.max(latencySeconds, maxOf(priced.latencySeconds));
  const total = knownEstimate(seconds + latencySeconds, basis, weakest?.detail ?? 'nothing to do');
  return { ...total, port, portSeconds: seconds, latencySeconds };
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

interface Exchange {
  readonly name: CollectiveName;
  readonly members: readonly number[];
  readonly flows: readonly PricedFlow[];
  readonly rings: readonly (readonly number[])[];
  readonly rounds: number;
  readonly algorithm: Algorithm;
  /** Every peer costs something besides. */
  readonly pairwise: boolean;
}

function latenciesOf(fabric: Fabric, exchange: Exchange): Float64Array {
  const { name, members, flows, rings, rounds, algorithm, pairwise } = exchange;
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

interface Measured {
  readonly scale: number;
  readonly latencySeconds: number;
  readonly basis: Basis;
  readonly detail: string;
  readonly expectedError?: number | undefined;
}

/** Why the calibration says nothing of a collective. */
interface Uncovered {
  readonly uncovered: string;
}

interface Asked {
  readonly name: CollectiveName;
  readonly members: readonly number[];
  readonly load: CollectiveLoad;
  readonly algorithm: Algorithm;
  readonly latencies: Float64Array;
}

/** What the curves say; nothing without curves, or where there is nothing to move. */
function fromCurves(model: CostModel, fabric: Fabric, asked: Asked): Measured | Uncovered | undefined {
  const { name, members, load, algorithm, latencies } = asked;
  if (!model.curves || load.kind === 'nothing' || members.length < 2) return undefined;
  const n = members.length;
  const totalBytes = bufferBytes(load, n, name);
  if (totalBytes === 0) return undefined;
  const nodes = nodesOf(fabric, members).size;
  const estimate = model.curves.seconds(name, { ranks: n, nodes }, totalBytes);
  if (!estimate.known) return { uncovered: estimate.missing.join('; ') };
  const balanced = name === 'send' || name === 'receive' ? load : balancedLoad(load, n, name, totalBytes);
  const parts = decompose({ name, members, load: balanced, algorithm, nodeOf: (rank) => fabric.nodeOf(rank) });
  const alone = busiestPort(
    fabric,
    parts.flows.map((flow) => {
      const route = fabric.route(flow.from, flow.to);
      return { ...flow, route, work: flow.bytes * slowdownOf(fabric, algorithm, route) };
    }),
  ).seconds;
  if (alone === 0) return undefined;
  // what part of the measured time is latency cannot be told from one point; the cluster file's is taken, as far as it
  // fits
  const latencySeconds = Math.min(maxOf(latencies), estimate.seconds);
  return {
    scale: (estimate.seconds - latencySeconds) / alone,
    latencySeconds: latencySeconds + (model.curves.addedLatencySeconds ?? 0),
    basis: estimate.basis,
    detail: estimate.detail,
    expectedError: estimate.expectedError,
  };
}

/** Equal blocks whose buffer, as nccl-tests counts it, has `totalBytes`. */
function balancedLoad(load: CollectiveLoad, n: number, name: CollectiveName, totalBytes: number): CollectiveLoad {
  if (load.kind === 'pairs') return { kind: 'pairs', bytes: new Float64Array(n * n).fill(totalBytes / n) };
  return { kind: 'blocks', bytes: new Float64Array(n).fill(name === 'broadcast' ? totalBytes : totalBytes / n) };
}

/** The buffer size that nccl-tests would report: of the rank with the most, since it decides. */
function bufferBytes(load: CollectiveLoad, n: number, name: CollectiveName): number {
  if (load.kind === 'nothing') return 0;
  if (load.kind === 'blocks')
    return name === 'broadcast' ? (load.bytes[0] ?? 0) : load.bytes.reduce((a, b) => a + b, 0);
  let most = 0;
  for (let i = 0; i < n; i++) {
    let row = 0;
    for (let j = 0; j < n; j++) row += load.bytes[i * n + j] ?? 0;
    most = Math.max(most, row);
  }
  return most;
}
