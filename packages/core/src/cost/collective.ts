/** Prices one collective: its flows on ports, its latency, and the closed form for the time that it takes alone. */
import type { CollectiveName } from '../schedule/schedule.js';
import { knownEstimate } from './estimate.js';
import type { Basis, KnownEstimate } from './estimate.js';
import type { Fabric, FabricRoute } from '../traffic/fabric.js';
import { decompose } from '../traffic/flows.js';
import type { CollectiveLoad, Flow } from '../traffic/flows.js';
import type { CostModel } from './model.js';

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
  readonly detail: string;
}

/** A closed-form time, and what decides it. */
export interface CollectiveEstimate extends KnownEstimate {
  /** Index of the busiest port, -1 when no byte moves. */
  readonly port: number;
  readonly portSeconds: number;
  readonly latencySeconds: number;
}

/**
 * Flows and latencies of a collective over `members` (global ranks, in group order).
 *
 * Without measured curves: every flow takes its bytes on each port of its route; latency is that of the farthest peer (direct), or of a
 * trip of n-1 hops around the ring, times the rounds. With curves, the work of the flows is scaled so that a balanced collective of the
 * same size, alone, takes exactly the measured time; ports are then shared and skew counts as without them.
 */
export function priceCollective(
  model: CostModel,
  fabric: Fabric,
  name: CollectiveName,
  members: readonly number[],
  load: CollectiveLoad,
): PricedCollective {
  const { algorithm, collectiveOverheadSeconds } = model.inputs;
  const nodeOf = (rank: number): number => fabric.nodeOf(rank);
  const parts = decompose(name, members, load, algorithm, nodeOf);
  const flows = parts.flows.map((flow) => {
    const route = fabric.route(flow.from, flow.to);
    return { from: flow.from, to: flow.to, bytes: flow.bytes, route, work: flow.bytes * route.slowdown };
  });
  const latencies = latenciesOf(fabric, name, members, flows, parts.rings, parts.rounds);
  const measured = fromCurves(model, fabric, name, members, load, latencies);
  if (!measured) {
    return {
      flows,
      latencySeconds: latencies.map((seconds) => seconds + collectiveOverheadSeconds),
      basis: 'datasheet',
      detail: 'latency and bandwidth of the cluster file',
    };
  }
  return {
    flows: flows.map((flow) => ({ ...flow, work: flow.work * measured.scale })),
    latencySeconds: latencies.fill(measured.latencySeconds),
    basis: measured.basis,
    detail: measured.detail,
  };
}

/** Time of one collective alone: busiest port over all tiers that it crosses, plus the largest latency. */
export function collectiveSeconds(fabric: Fabric, priced: PricedCollective): CollectiveEstimate {
  return concurrentSeconds(fabric, [priced]);
}

/**
 * Time of several groups' collectives that start together (all expert groups dispatching at once, say): the busiest port under all of
 * them, plus the largest latency. A lower bound of what max-min sharing gives, and equal to it when every flow crosses the busiest port or
 * is through before it.
 */
export function concurrentSeconds(fabric: Fabric, collectives: readonly PricedCollective[]): CollectiveEstimate {
  const { port, seconds } = busiestPort(
    fabric,
    collectives.flatMap((c) => c.flows),
  );
  let latencySeconds = 0;
  let weakest = collectives[0];
  for (const priced of collectives) {
    latencySeconds = Math.max(latencySeconds, ...priced.latencySeconds);
    if (priced.basis === 'datasheet') weakest = priced;
  }
  const total = knownEstimate(
    seconds + latencySeconds,
    weakest?.basis ?? 'measured',
    weakest?.detail ?? 'nothing to do',
  );
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

function latenciesOf(
  fabric: Fabric,
  name: CollectiveName,
  members: readonly number[],
  flows: readonly PricedFlow[],
  rings: readonly (readonly number[])[],
  rounds: number,
): Float64Array {
  const latencies = new Float64Array(members.length);
  if (members.length < 2) return latencies;
  if (name === 'barrier') {
    members.forEach((from, i) => {
      for (const to of members) {
        if (to !== from) latencies[i] = Math.max(latencies[i] ?? 0, fabric.route(from, to).latencySeconds);
      }
    });
    return latencies;
  }
  if (flows.length === 0) return latencies;
  if (rings.length > 0) return latencies.fill(rounds * Math.max(...rings.map((ring) => ringLatency(fabric, ring))));
  const place = new Map(members.map((rank, index) => [rank, index]));
  for (const { from, to, route } of flows) {
    for (const rank of [from, to]) {
      const index = place.get(rank) ?? 0;
      latencies[index] = Math.max(latencies[index] ?? 0, rounds * route.latencySeconds);
    }
  }
  return latencies;
}

/** Each block takes all hops of the ring but one; the slowest block is the one that skips the cheapest hop. */
function ringLatency(fabric: Fabric, ring: readonly number[]): number {
  let sum = 0;
  let least = Infinity;
  ring.forEach((from, position) => {
    const to = ring[(position + 1) % ring.length] ?? from;
    const { latencySeconds } = fabric.route(from, to);
    sum += latencySeconds;
    least = Math.min(least, latencySeconds);
  });
  return sum - least;
}

interface Measured {
  readonly scale: number;
  readonly latencySeconds: number;
  readonly basis: Basis;
  readonly detail: string;
}

function fromCurves(
  model: CostModel,
  fabric: Fabric,
  name: CollectiveName,
  members: readonly number[],
  load: CollectiveLoad,
  latencies: Float64Array,
): Measured | undefined {
  if (!model.curves || load.kind === 'nothing' || members.length < 2) return undefined;
  const n = members.length;
  const totalBytes = bufferBytes(load, n, name);
  if (totalBytes === 0) return undefined;
  const nodes = new Set(members.map((rank) => fabric.nodeOf(rank))).size;
  const estimate = model.curves.seconds(name, { ranks: n, nodes }, totalBytes);
  if (!estimate.known) return undefined;
  const balanced = name === 'send' || name === 'receive' ? load : balancedLoad(load, n, name, totalBytes);
  const parts = decompose(name, members, balanced, model.inputs.algorithm, (rank) => fabric.nodeOf(rank));
  const alone = busiestPort(
    fabric,
    parts.flows.map((flow) => {
      const route = fabric.route(flow.from, flow.to);
      return { ...flow, route, work: flow.bytes * route.slowdown };
    }),
  ).seconds;
  if (alone === 0) return undefined;
  // what part of the measured time is latency cannot be told from one point; the cluster file's is taken, as far as it fits
  const latencySeconds = Math.min(Math.max(...latencies), estimate.seconds);
  return {
    scale: (estimate.seconds - latencySeconds) / alone,
    latencySeconds: latencySeconds + (model.curves.addedLatencySeconds ?? 0),
    basis: estimate.basis,
    detail: estimate.detail,
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
