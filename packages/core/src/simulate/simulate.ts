/** The simulator's front door: a job in, a trace and its summary out. */
import type { Cluster } from '../cluster/cluster.js';
import { unknownEstimate, weakestBasis } from '../cost/index.js';
import type { Basis, CostModel, UnknownEstimate } from '../cost/index.js';
import { fabricOf, type Fabric, Symmetry, wholeWorld, type World } from '../traffic/index.js';
import type { Layout } from '../layout/layout.js';
import { coordinates, groupMembers, placedOn, worldSize } from '../layout/mesh.js';
import { orderProgram, type OrderedProgram } from '../schedule/compile.js';
import type { Binding, Program, Template } from '../schedule/schedule.js';
import { laneTimes } from '../trace/index.js';
import type { LaneTimes, Trace } from '../trace/index.js';
import { InputError, memoized, once } from '../units/index.js';
import { flatten } from './rank-state.js';
import { criticalPath } from './critical-path.js';
import type { PathPiece, Resource } from './critical-path.js';
import { deadlock } from './deadlock.js';
import { Engine } from './engine.js';
import type { Run } from './engine.js';
import { smallestWorld } from './fold.js';
import { assignChannels, Channels, GroupRanks } from './groups.js';
import type { Members } from './groups.js';
import type { HostCores } from './host.js';
import { kernelPrices } from './kernel-prices.js';
import type { CollectiveBasis } from './prices.js';
import { simulatedTrace, spreadTrace } from './simulated-trace.js';
import type { Steps } from './steady.js';

/** Which ranks there are, and how they are joined. */
export interface Place {
  readonly ranks: number;
  /** Stage of a rank: index into the job's programs. */
  readonly stageOf: (rank: number) => number;
  readonly groups: Members;
  readonly fabric: Fabric;
  /** Which ranks may stand for each other; absent: none. */
  readonly symmetry?: Symmetry;
}

export interface SimulationJob {
  readonly place: Place;
  /** One program per pipeline stage. */
  readonly programs: readonly Program[];
  /** One per program, or one for all. */
  readonly bindings: readonly Binding[];
  readonly model: CostModel;
  readonly hostCores?: HostCores;
  /**
   * `alike`, unless said otherwise: one rank stands for all that do the same at the same time, with the same result but
   * for rounding. `kinds`: so it does where some collective loads ports of a kind unequally (NCCL's trees over nodes),
   * which then count with their mean. `all`: every rank is simulated.
   */
  readonly ranks?: 'alike' | 'kinds' | 'all';
  /** Per program, the numbers by which the bindings know its nodes; their own indices when left out. */
  readonly nodeNumbers?: readonly (readonly number[])[];
}

export interface PortLoad {
  /** Name of the port. */
  readonly id: string;
  readonly tier: number;
  /** Whether bytes leave or enter by it. */
  readonly direction: 'egress' | 'ingress';
  /** What crossed it. */
  readonly bytes: number;
  /** Share of the makespan for which its full bandwidth would have been needed. */
  readonly utilisation: number;
}

/** Ports that do the same. */
export interface PortKind {
  /** One of them, as the fabric counts ports. */
  readonly port: number;
  readonly count: number;
  /** Of each. */
  readonly bytes: number;
  /** Seconds for which each would have been busy at its full bandwidth. */
  readonly busySeconds: number;
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
  /** How many there are. */
  readonly ranks: number;
  readonly makespanSeconds: number;
  readonly times: LaneTimes;
  readonly ports: readonly PortLoad[];
  /** Bytes as numbers, by port of the fabric. */
  readonly portBytes: Float64Array;
  /** Ports that do the same, as those that a simulation knows. */
  readonly portKinds: readonly PortKind[];
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
  /** What happened, by rank that stands for others. */
  readonly steps: Steps;
}

const places = new WeakMap<Cluster, Map<string, Place>>();

/** The ranks of a layout on a cluster, rank r on device r; one place for each. */
export function placeOf(layout: Layout, cluster: Cluster): Place {
  let known = places.get(cluster);
  if (known === undefined) places.set(cluster, (known = new Map()));
  const placed = placedOn(layout, cluster);
  const key = JSON.stringify(placed);
  let place = known.get(key);
  if (place === undefined) {
    const fabric = fabricOf(cluster);
    place = {
      ranks: worldSize(layout),
      stageOf: (rank) => coordinates(layout, rank).pp,
      groups: (group, rank) => groupMembers(placed, group, rank),
      fabric,
      symmetry: new Symmetry(layout, cluster, fabric.ports.length),
    };
    known.set(key, place);
  }
  return place;
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
  const programs = job.programs.map((program) => flatten(ordered(program), model.inputs.hostRunsKernels));
  const bindings = job.programs.map((_, which) => {
    const binding = job.bindings[job.bindings.length === 1 ? 0 : which];
    if (!binding) throw new InputError(`stage ${which} has no binding`, { expected: 'one binding, or one per stage' });
    return binding;
  });
  const groups = groupRanks(place);
  const { fabric } = place;
  const world = worldOf(job, bindings, groups);
  const programOf = world.ranks.map((rank) => stageOf(job, rank));
  const channels = assignChannels(programs, programOf, new Channels(groups, world));
  const nodeNumbers = programs.map(
    (program, which) => job.nodeNumbers?.[which] ?? program.compiled.nodes.map((_, node) => node),
  );
  const { hostCores } = job;
  const parts = { world, programs, programOf, channels, fabric, model, bindings, nodeNumbers, hostCores };
  const run = new Engine(parts).run();
  const stuck = deadlock(programs, programOf, channels, run);
  if (stuck) throw stuck;
  const traced = { run, world, programOf, channels, groups, source: sourceOf(run, job), nodeNumbers };
  const kinds = once(() => simulatedTrace(traced));
  const whole = world.ranks.length === world.size;
  const trace = once(() => (whole ? kinds() : spreadTrace(kinds(), traced)));
  return {
    known: true,
    get trace() {
      return trace();
    },
    summary: summarize({ run, trace: kinds, world, fabric, model }),
    steps: { happenings: run.happenings, programs, programOf },
  };
}

function stageOf({ place, programs }: SimulationJob, rank: number): number {
  const which = place.stageOf(rank);
  if (programs[which]) return which;
  throw new InputError(`rank ${rank} is in stage ${which}`, { expected: `a stage from 0 to ${programs.length - 1}` });
}

const knownGroups = new WeakMap<Place, GroupRanks>();

function groupRanks(place: Place): GroupRanks {
  let groups = knownGroups.get(place);
  if (groups === undefined) knownGroups.set(place, (groups = new GroupRanks(place.groups)));
  return groups;
}

const knownWorlds = new WeakMap<Place, World>();

function worldOf({ place, programs, model, ...job }: SimulationJob, bindings: readonly Binding[], groups: GroupRanks) {
  const { symmetry, fabric, stageOf: stage } = place;
  if (symmetry === undefined || job.hostCores !== undefined || job.ranks === 'all') {
    let world = knownWorlds.get(place);
    if (world === undefined) knownWorlds.set(place, (world = wholeWorld(place.ranks, fabric.ports.length)));
    return world;
  }
  return smallestWorld({
    programs,
    bindings,
    symmetry,
    groups,
    fabric,
    model,
    stageOf: stage,
    mean: job.ranks === 'kinds',
  });
}

/** A program's operations in their order, worked out once. */
const ordered = memoized<Program, OrderedProgram>(orderProgram);

const pricedTemplates = memoized<CostModel, WeakSet<Template>>(() => new WeakSet<Template>());

function unpriced(programs: readonly Program[], model: CostModel): string[] {
  const missing = new Set<string>();
  const known = pricedTemplates(model);
  for (const program of programs)
    for (const name of new Set(program.nodes.map(({ template }) => template))) {
      const template = program.templates[name];
      if (template === undefined || known.has(template)) continue;
      for (const operation of template.operations) {
        const { body } = operation;
        if (body.kind !== 'kernel') continue;
        const { estimate } = kernelPrices(model).of(operation, body, 1);
        if (!estimate.known) for (const what of estimate.missing) missing.add(what);
      }
      if (missing.size === 0) known.add(template);
    }
  return [...missing];
}

function sourceOf(run: Run, { place, programs, model }: SimulationJob): string {
  const stages = programs.length === 1 ? '' : `, ${programs.length} stages`;
  return `${model.device.name}, ${place.ranks} ranks${stages}; prices: ${weakestOf(run)}`;
}

const weakestOf = ({ bases }: Run): Basis => weakestBasis([...bases.kernels, ...bases.collectives]);

interface Simulated {
  readonly run: Run;
  /** Of the ranks that stand for all. */
  readonly trace: () => Trace;
  readonly world: World;
  readonly fabric: Fabric;
  readonly model: CostModel;
}

function summarize({ run, trace, world, fabric, model }: Simulated): SimulationSummary {
  const makespanSeconds = run.happenings.reduce((last, list) => lastEnd(list, last), 0);
  // of a whole step they are long, and mostly not asked for
  const times = once(() => everyRank(laneTimes(trace()), world));
  const path = once(() => criticalPath(run.happenings).map((piece) => atRank(piece, world)));
  const held = once(() => heldBy(path(), fabric, makespanSeconds));
  const portKinds = world.ports.map(({ port, count }, place): PortKind => ({
    port,
    count,
    bytes: (run.portBytes[place] ?? 0) / count,
    busySeconds: run.portSeconds[place] ?? 0,
  }));
  const portBytes = once(() => Float64Array.from(world.portPlace, (place) => portKinds[place]?.bytes ?? 0));
  const ports = once(() =>
    fabric.ports.map(({ id, tier, direction }, index): PortLoad => {
      const load: PortKind | undefined = portKinds[world.portPlace[index] ?? -1];
      const utilisation = makespanSeconds > 0 ? (load?.busySeconds ?? 0) / makespanSeconds : 0;
      return { id, tier, direction, bytes: load?.bytes ?? 0, utilisation };
    }),
  );
  return {
    ranks: world.size,
    makespanSeconds,
    get times() {
      return times();
    },
    get ports() {
      return ports();
    },
    get portBytes() {
      return portBytes();
    },
    portKinds,
    get path() {
      return path();
    },
    get held() {
      return held();
    },
    get binding() {
      return held()[0];
    },
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

function lastEnd(list: Run['happenings'][number], before: number): number {
  let last = before;
  for (const one of list) if (one !== undefined && one.end > last) last = one.end;
  return last;
}

/** Times of the ranks that stand for all, written out for all. */
function everyRank(times: LaneTimes, { ranks: stands, size, placeOf: place }: World): LaneTimes {
  if (stands.length === size) return times;
  let ranks: LaneTimes['ranks'] | undefined;
  return {
    ...times,
    get ranks() {
      if (ranks !== undefined) return ranks;
      const byRank = new Map(times.ranks.map((one) => [one.rank, one]));
      const all = Array.from({ length: size }, (_, rank) => byRank.get(stands[place[rank] ?? 0] ?? 0));
      return (ranks = all.flatMap((one, rank) => (one ? [{ ...one, rank }] : [])));
    },
  };
}

/** A piece of the path of a place, on the rank and the port that it stands for. */
function atRank(piece: PathPiece, { ranks, ports }: World): PathPiece {
  const { resource } = piece;
  const rank = ranks[piece.rank] ?? piece.rank;
  if (resource.kind !== 'port') return { ...piece, rank };
  // what lies beyond the ports are the movers of hosts
  const port = ports[resource.port]?.port ?? resource.port;
  return { ...piece, rank, resource: { kind: 'port', port } };
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
