/**
 * Predicts dispatches that are measured: the simulator runs the very same program, bound to the counts that were
 * exchanged.
 */
import type {
  Binding,
  Cluster,
  CollectiveCurves,
  CostModel,
  HostCores,
  KernelRate,
  LayerPass,
  MoeShape,
  Operation,
  PassPrice,
  Routing,
  SourcePicks,
  Strategy,
  Trace,
  Workload,
} from '@monta/core';
import { InputError, maxOf, median } from '@monta/core/units';
import { groupMembers, groupNumber } from '@monta/core/layout';
import { GroupRouting } from '@monta/core/routing';
import { dispatchProgram, exchangesPicks, RoutingBinding } from '@monta/core/schedule';
import { fabricOf } from '@monta/core/traffic';
import { costModel, hostInputs } from '@monta/core/cost';
import { passPrice, simulatePass } from '@monta/core/plan';
import type { DispatchMeasurement } from '../execute/measure-dispatch.js';
import { groupPicks } from '../execute/sample-picks.js';
import { hostOverheads, type HostOverheads } from './dispatch-host.js';

/** What probes found out about this machine; no measured case goes into it. */
export interface MachineProbe {
  /**
   * The cores that ranks share, what moves their bytes, and what communication costs them where ranks do so themselves.
   */
  readonly hostCores: Omit<HostCores, 'wakeSeconds'>;
  readonly kernels: ReadonlyMap<string, KernelRate>;
  /** From a collective's last byte and latency to its end. */
  readonly delaySeconds: number;
  /** From a collective's end to the start of a kernel that waited for it. */
  readonly wakeSeconds: number;
  /** From a pass's start on the last rank until its first collective has all its members. */
  readonly startSeconds: number;
}

export interface PassPrediction {
  readonly price: PassPrice;
  /** With the start of the ranks, and waking up after the last collective. */
  readonly seconds: number;
  readonly trace: Trace;
}

/** Cost model and host for a cluster as its ranks see it. */
export function benchWorkload({
  seen,
  shape,
  routing,
  seed,
  probe,
  curves,
}: {
  readonly seen: Cluster;
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly probe: MachineProbe;
  readonly curves?: CollectiveCurves;
}): Workload {
  const model: CostModel = costModel(seen.device, {
    inputs: hostInputs(probe.delaySeconds),
    inputSource: 'probe of this machine',
    kernels: probe.kernels,
    ...(curves === undefined ? {} : { curves }),
  });
  const hostCores: HostCores = { ...probe.hostCores, wakeSeconds: probe.wakeSeconds };
  return { cluster: seen, shape, routing, seed, model, hostCores, scope: 'dispatch' };
}

/** The routing of a measurement: the counts that its ranks exchanged, and the picks where they knew them. */
export function bindingOf({ job, counts }: DispatchMeasurement): Binding {
  const { shape, strategy, routing, seed } = job;
  const groups = new Map<number, GroupRouting>();
  return new RoutingBinding(shape.layout, (rank) => {
    const number = groupNumber(shape.layout, 'expert', rank);
    let group = groups.get(number);
    if (group === undefined) {
      const own = counts[rank];
      if (!own) throw new RangeError(`rank ${rank} reported no counts`);
      const picks = (): SourcePicks[] =>
        groupPicks(shape, routing, seed, rank).map(({ ids }) => ({ ids, topK: shape.topK }));
      group = exchangesPicks(strategy)
        ? GroupRouting.fromPicks(shape, picks(), { cut: 'tokens' })
        : new GroupRouting(shape, own);
      groups.set(number, group);
    }
    return group;
  });
}

/** Predicts one pass. Throws `InputError` when something has no price. */
export function predictPass({
  workload,
  strategy,
  pass,
  binding,
  probe,
}: {
  readonly workload: Workload;
  readonly strategy: Strategy;
  readonly pass: LayerPass;
  readonly binding: Binding;
  readonly probe: MachineProbe;
}): PassPrediction {
  const simulation = simulatePass(workload, strategy, pass, binding);
  if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
  const price = passPrice(simulation, workload.cluster, strategy.chunks[pass]);
  return { price, seconds: price.seconds + probe.wakeSeconds + probe.startSeconds, trace: simulation.trace };
}

/** Seconds that the network itself takes for an operation without bytes, on a rank. */
function latencyOf(shape: MoeShape, seen: Cluster): (operation: Operation, rank: number) => number {
  const fabric = fabricOf(seen);
  return ({ body }, rank) => {
    if (body.kind !== 'collective') return 0;
    const peers = groupMembers(shape.layout, body.group, rank).filter((peer) => peer !== rank);
    const longest = Math.max(0, maxOf(peers.map((peer) => fabric.route(rank, peer).latencySeconds)));
    return body.name === 'all_reduce' ? 2 * longest : longest;
  };
}

/** Reads the host's overheads off measurements of programs that move next to nothing. */
export function readHost(
  measured: readonly DispatchMeasurement[],
  seen: Cluster,
  known: Pick<MachineProbe, 'hostCores' | 'kernels'>,
): MachineProbe {
  const overheads = measured.map(({ job, spans }) =>
    hostOverheads(dispatchProgram(job.shape, job.strategy, job.passes), spans, latencyOf(job.shape, seen)),
  );
  const typical = (value: (one: HostOverheads) => number): number => median(overheads.map(value));
  return {
    ...known,
    delaySeconds: typical((one) => one.delaySeconds),
    wakeSeconds: typical((one) => one.wakeSeconds),
    startSeconds: typical((one) => one.startSeconds),
  };
}
