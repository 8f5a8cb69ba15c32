/** Prices one collective: its flows on ports, its latency, and the closed form for the time that it takes alone. */
import type { CollectiveName } from '../schedule/schedule.js';
import { knownEstimate, weakestBasis } from './estimate.js';
import type { Basis, KnownEstimate } from './estimate.js';
import type { Fabric } from '../traffic/fabric.js';
import type { Algorithm, CollectiveLoad, EvenLoad } from '../traffic/flows.js';
import type { CostModel } from './model.js';
import { nodesOf } from './nccl.js';
import { maxOf } from '../units/index.js';
import type { PricedFlow } from './priced-flow.js';
import { busiestPort, fastestWay, unitMove } from './ways.js';
import type { Move, MoveRequest, Way } from './ways.js';

export type { PricedFlow } from './priced-flow.js';

/** A collective to price; its members are global ranks, in group order. */
export interface CollectiveRequest extends MoveRequest {
  readonly model: CostModel;
  readonly load: CollectiveLoad | EvenLoad;
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

/** A price whose flows have yet to be multiplied. */
export interface ScaledCollective extends Omit<PricedCollective, 'flows'> {
  /** One and the same for even loads of a group, whatever their bytes. */
  readonly move: Move;
  readonly bytesScale: number;
  readonly workScale: number;
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
  const { move, bytesScale, workScale, latencySeconds, basis, detail, expectedError } = scaledCollective(request);
  return {
    flows:
      bytesScale === 0
        ? []
        : move.flows.map((flow) => ({ ...flow, bytes: flow.bytes * bytesScale, work: flow.work * workScale })),
    latencySeconds,
    basis,
    detail,
    ...(expectedError === undefined ? {} : { expectedError }),
  };
}

/** `priceCollective` without a flow of its own for every pair. */
export function scaledCollective(request: CollectiveRequest): ScaledCollective {
  const { model, load } = request;
  const { collectiveOverheadSeconds, algorithm: given } = model.inputs;
  const way = fastestWay(request, load, given);
  const { move, bytesScale, workScale, latencies, detail } = way;
  const scaled = { move, bytesScale };
  const measured = fromCurves(request, way);
  if (!measured || 'uncovered' in measured) {
    const why = measured ? `; not calibrated: ${measured.uncovered}` : '';
    return {
      ...scaled,
      workScale,
      latencySeconds: latencies.map((seconds) => seconds + collectiveOverheadSeconds),
      basis: 'datasheet',
      detail: `latency and bandwidth of the cluster file, ${detail}${why}`,
    };
  }
  return {
    ...scaled,
    workScale: bytesScale * measured.scale,
    latencySeconds: new Float64Array(latencies.length).fill(measured.latencySeconds),
    basis: measured.basis,
    detail: measured.detail,
    ...(measured.expectedError === undefined ? {} : { expectedError: measured.expectedError }),
  };
}

/** How a collective moves; `traffic` counts bytes with it. */
export const collectiveAlgorithm = (request: CollectiveRequest): Algorithm =>
  fastestWay(request, request.load, request.model.inputs.algorithm).move.algorithm;

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

/** What the curves say; nothing without curves, or where there is nothing to move. */
function fromCurves(request: CollectiveRequest, way: Way): Measured | Uncovered | undefined {
  const { model, fabric, name, members, load } = request;
  const n = members.length;
  if (!model.curves || load.kind === 'nothing' || n < 2) return undefined;
  const totalBytes = bufferBytes(load, n, name);
  if (totalBytes === 0) return undefined;
  const nodes = nodesOf(fabric, members).size;
  const estimate = model.curves.seconds(name, { ranks: n, nodes }, totalBytes);
  if (!estimate.known) return { uncovered: estimate.missing.join('; ') };
  // equal blocks whose buffer, as nccl-tests counts it, has `totalBytes`
  const message = name === 'send' || name === 'receive';
  const of = message ? 'message' : load.kind === 'even' ? load.of : load.kind;
  const each = message || name === 'broadcast' ? totalBytes : totalBytes / n;
  const alone = each * unitMove(request, of, way.move.algorithm).portSeconds;
  if (alone === 0) return undefined;
  // what part of the measured time is latency cannot be told from one point; the cluster file's is taken, as far as it
  // fits
  const latencySeconds = Math.min(maxOf(way.latencies), estimate.seconds);
  return {
    scale: (estimate.seconds - latencySeconds) / alone,
    latencySeconds: latencySeconds + (model.curves.addedLatencySeconds ?? 0),
    basis: estimate.basis,
    detail: estimate.detail,
    expectedError: estimate.expectedError,
  };
}

/** The buffer size that nccl-tests would report: of the rank with the most, since it decides. */
function bufferBytes(load: CollectiveLoad | EvenLoad, n: number, name: CollectiveName): number {
  if (load.kind === 'nothing') return 0;
  if (load.kind === 'even') return load.of === 'message' || name === 'broadcast' ? load.bytes : load.bytes * n;
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
