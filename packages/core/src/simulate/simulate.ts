/** The simulator's front door: a job in, a trace and its summary out. */
import type { Cluster } from '../cluster/cluster.js';
import { kernelSeconds, pricedKernel, unknownEstimate, weakestBasis } from '../cost/index.js';
import type { Basis, CostModel, UnknownEstimate } from '../cost/index.js';
import { fabricOf, type Fabric } from '../traffic/index.js';
import type { Layout } from '../layout/layout.js';
import { coordinates, groupMembers, placedOn, worldSize } from '../layout/mesh.js';
import { compile } from '../schedule/compile.js';
import { priceKey } from '../schedule/kernels.js';
import type { Binding, Program } from '../schedule/schedule.js';
import { laneTimes } from '../trace/index.js';
import type { LaneTimes, Trace } from '../trace/index.js';
import { InputError } from '../units/index.js';
import { flatten } from './rank-state.js';
import { criticalPath } from './critical-path.js';
import type { PathPiece, Resource } from './critical-path.js';
import { deadlock } from './deadlock.js';
import { Engine } from './engine.js';
import type { Run } from './engine.js';
import { assignChannels, Channels } from './groups.js';
import type { Members } from './groups.js';
import type { HostCores } from './host.js';
import type { CollectiveBasis } from './prices.js';
import { simulatedTrace } from './simulated-trace.js';

/** Which ranks there are, and how they are joined. */
export interface Place {
  readonly ranks: number;
  /** Stage of a rank: index into the job's programs. */
  readonly stageOf: (rank: number) => number;
  readonly groups: Members;
  readonly fabric: Fabric;
}

export interface SimulationJob {
  readonly place: Place;
  /** One program per pipeline stage. */
  readonly programs: readonly Program[];
  /** One per program, or one for all. */
  readonly bindings: readonly Binding[];
  readonly model: CostModel;
  readonly hostCores?: HostCores;
  /** Per program, the numbers by which the bindings know its nodes; their own indices when left out. */
  readonly nodeNumbers?: readonly (readonly number[])[];
}

export interface PortLoad {
  readonly id: string;
  readonly tier: number;
  readonly direction: 'egress' | 'ingress';
  readonly bytes: number;
  /** Share of the makespan for which its full bandwidth would have been needed. */
  readonly utilisation: number;
}

/** What held the critical path longest. */
export interface BindingResource {
  /** A tier of the network, a lane on which kernels ran, `latency` or `host`. */
  readonly name: string;
  readonly kind: Resource['kind'];
  /** For a tier, the id of the port that held the path longest. Where ports are equally busy it is one of them. */
  readonly port?: string;
  readonly seconds: number;
  /** Of the makespan. */
  readonly share: number;
}

export interface SimulationSummary {
  readonly makespanSeconds: number;
  readonly times: LaneTimes;
  readonly ports: readonly PortLoad[];
  readonly path: readonly PathPiece[];
  /** Resources of the critical path, longest first. */
  readonly held: readonly BindingResource[];
  /** The first of `held`; absent for a program that takes no time. */
  readonly binding?: BindingResource;
  /** The weakest of what the prices rest on. */
  readonly basis: Basis;
  /** The weakest of kernels. */
  readonly kernelBasis: Basis;
  /** What collectives rest on, by name and shape of their group. */
  readonly collectives: readonly CollectiveBasis[];
  /** What the simulation leaves out, for the person. */
  readonly leftOut: readonly string[];
  readonly events: number;
}

export interface Simulation {
  readonly known: true;
  readonly trace: Trace;
  readonly summary: SimulationSummary;
}

/** The ranks of a layout on a cluster, rank r on device r. */
export function placeOf(layout: Layout, cluster: Cluster): Place {
  const placed = placedOn(layout, cluster);
  return {
    ranks: worldSize(layout),
    stageOf: (rank) => coordinates(layout, rank).pp,
    groups: (group, rank) => groupMembers(placed, group, rank),
    fabric: fabricOf(cluster),
  };
}

/**
 * Runs a job's programs on a fabric, without randomness.
 *
 * Queues are in order (`schedule/compile.ts`). An operation starts when it is the first of its queue that has not
 * ended, the host has issued it, and what it comes after has ended. The host issues in program order,
 * `hostOverheadSeconds` each, and stops at a bind until that has ended (with `hostRunsKernels` at kernels too). The
 * bytes of a collective flow once all members have issued it, as a fluid that shares ports max-min fairly; on each rank
 * it ends when the rank's own bytes are through, plus its latency.
 *
 * Returns `unknown` when the cost model cannot price a kernel. Throws `InputError` for programs that cannot run:
 * unknown names, members of a group that disagree on the order of collectives, or a deadlock.
 */
export function simulate(job: SimulationJob): Simulation | UnknownEstimate {
  const { place, model } = job;
  const missing = unpriced(job.programs, model);
  if (missing.length > 0) return unknownEstimate(...missing);
  if (place.fabric.ranks < place.ranks) {
    throw new InputError(`${place.ranks} ranks on a cluster of ${place.fabric.ranks} devices`, {
      expected: 'a device for every rank',
    });
  }
  const programs = job.programs.map((program) => flatten(compile(program), model.inputs.hostRunsKernels));
  const programOf = Array.from({ length: place.ranks }, (_, rank) => place.stageOf(rank));
  programOf.forEach((which, rank) => {
    if (!programs[which]) {
      throw new InputError(`rank ${rank} is in stage ${which}`, {
        expected: `a stage from 0 to ${programs.length - 1}`,
      });
    }
  });
  const channels = assignChannels(programs, programOf, new Channels(place.groups));
  const bindings = job.programs.map((_, which) => {
    const binding = job.bindings[job.bindings.length === 1 ? 0 : which];
    if (!binding) throw new InputError(`stage ${which} has no binding`, { expected: 'one binding, or one per stage' });
    return binding;
  });
  const nodeNumbers = programs.map(
    (program, which) => job.nodeNumbers?.[which] ?? program.compiled.nodes.map((_, node) => node),
  );
  const { fabric } = place;
  const parts = { programs, programOf, channels, fabric, model, bindings, nodeNumbers, hostCores: job.hostCores };
  const run = new Engine(parts).run();
  const stuck = deadlock(programs, programOf, channels, run);
  if (stuck) throw stuck;
  const trace = simulatedTrace({ run, programOf, channels, source: sourceOf(run, programOf, job), nodeNumbers });
  return { known: true, trace, summary: summarize(run, trace, fabric, model) };
}

function unpriced(programs: readonly Program[], model: CostModel): string[] {
  const missing = new Set<string>();
  for (const program of programs) {
    for (const { template } of program.nodes) {
      for (const { body, uses } of program.templates[template]?.operations ?? []) {
        if (body.kind !== 'kernel') continue;
        const price = kernelSeconds(model, pricedKernel(priceKey(body.name, uses), body.work, 1));
        if (!price.known) for (const what of price.missing) missing.add(what);
      }
    }
  }
  return [...missing];
}

function sourceOf(run: Run, programOf: readonly number[], { programs, model }: SimulationJob): string {
  const stages = programs.length === 1 ? '' : `, ${programs.length} stages`;
  return `${model.device.name}, ${programOf.length} ranks${stages}; prices: ${weakestOf(run)}`;
}

const weakestOf = ({ bases }: Run): Basis => weakestBasis([...bases.kernels, ...bases.collectives]);

function summarize(run: Run, trace: Trace, fabric: Fabric, model: CostModel): SimulationSummary {
  const times = laneTimes(trace);
  const makespanSeconds = times.makespanSeconds;
  const path = criticalPath(run.happenings);
  const held = heldBy(path, fabric, makespanSeconds);
  return {
    makespanSeconds,
    times,
    ports: fabric.ports.map((port, index) => ({
      id: port.id,
      tier: port.tier,
      direction: port.direction,
      bytes: run.portBytes[index] ?? 0,
      utilisation: makespanSeconds > 0 ? (run.portSeconds[index] ?? 0) / makespanSeconds : 0,
    })),
    path,
    held,
    binding: held[0],
    basis: weakestOf(run),
    kernelBasis: weakestBasis(run.bases.kernels),
    collectives: run.collectiveBases,
    leftOut: [
      'congestion inside switches, and packets: bytes are a fluid',
      'variation from run to run',
      'kernels that slow collectives down beside them (the other direction is in)',
      ...(model.curves ? [] : ['bandwidth that depends on the message size: no measured curves']),
    ],
    events: run.events,
  };
}

function heldBy(path: readonly PathPiece[], fabric: Fabric, makespan: number): BindingResource[] {
  const totals = new Map<string, { kind: Resource['kind']; seconds: number; ports: Map<string, number> }>();
  for (const { resource, start, end } of path) {
    const port = resource.kind === 'port' ? fabric.ports[resource.port] : undefined;
    const name =
      resource.kind === 'port'
        ? (port?.tierName ?? 'movers')
        : resource.kind === 'lane'
          ? resource.lane
          : resource.kind;
    const total = totals.get(name) ?? { kind: resource.kind, seconds: 0, ports: new Map<string, number>() };
    totals.set(name, total);
    total.seconds += end - start;
    if (port) total.ports.set(port.id, (total.ports.get(port.id) ?? 0) + end - start);
  }
  return [...totals]
    .map(([name, { kind, seconds, ports }]) => {
      const [longest] = [...ports].sort((a, b) => b[1] - a[1]);
      return { name, kind, seconds, share: seconds / makespan, ...(longest ? { port: longest[0] } : {}) };
    })
    .sort((a, b) => b.seconds - a.seconds);
}
