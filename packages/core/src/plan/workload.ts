/** What a choice is made for: a layer's shape on a cluster, its routing and the costs, and the prices of its passes. */
import type { Cluster } from '../cluster/cluster.js';
import { assumedError, errorOf, type Basis, type CostModel, type UnknownEstimate } from '../cost/index.js';
import { groupNumber, localExperts, sliceIndex } from '../layout/mesh.js';
import {
  balancedCounts,
  expectedKeptReach,
  expectedReach,
  GroupRouting,
  sampleCounts,
  sampleIds,
  type Routing,
} from '../routing/index.js';
import { dispatchProgram } from '../schedule/dispatch-only.js';
import type { Strategy } from '../schedule/dispatchers/strategies.js';
import { moeBackward } from '../schedule/moe-backward.js';
import { moeForward } from '../schedule/moe-forward.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { RoutingBinding } from '../schedule/routing-binding.js';
import { sliceLength } from '../schedule/rows.js';
import type { Binding, Likeness, Program } from '../schedule/schedule.js';
import { placeOf, simulate, type HostCores, type Simulation, type SimulationSummary } from '../simulate/index.js';
import { memoized, once, Recent } from '../units/index.js';
import { tierBytes, type TierBytes } from './tier-bytes.js';

export interface Workload {
  readonly cluster: Cluster;
  /** With its layout; alternatives differ from it in etp and ep only. */
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly model: CostModel;
  readonly hostCores?: HostCores;
  /** layer: the whole MoE layer with router and experts; dispatch: dispatch and combine alone. */
  readonly scope: 'layer' | 'dispatch';
}

export type LayerPass = 'forward' | 'backward';

/** What holds a tier's, lane's or the host's share of the critical path. */
export interface HeldBy {
  readonly name: string;
  readonly seconds: number;
}

export interface PassPrice {
  readonly chunks: number;
  readonly seconds: number;
  /** Fastest and slowest of several draws of the routing, of which `seconds` and the rest are the median. */
  readonly range?: readonly [number, number];
  /** Through each level of the network. */
  readonly bytes: readonly TierBytes[];
  /** Share of communication time that ran beside other work. */
  readonly hiddenShare: number;
  /** Time that its bytes alone need on the busiest port: no schedule of this strategy is faster. */
  readonly boundSeconds: number;
  /** What the critical path was spent on, tiers and lanes, longest first. */
  readonly held: readonly HeldBy[];
  readonly basis: Basis;
  /** Relative error to expect: of what held the critical path, by its share. */
  readonly expectedError: number;
  /** What the collectives rest on. */
  readonly collectives: SimulationSummary['collectives'];
}

/**
 * Rows that each token slice sends to each expert, one matrix per expert group: even for uniform routing, limited to
 * groups or not (above 32 slices in a group the same for all of them, `evenedCounts`), sampled with the seed for skewed
 * routing, whose hot experts the seed spreads over the ranks too. Capacity drops what exceeds ceil(cf*k*T/E) an expert
 * and replica, taken from its slices in proportion; copies are those of tokens with a kept pick, as expected. Picks are
 * drawn where they are asked for: those that were counted, or for uniform routing a draw beside the even counts.
 */
export function routedBinding(shape: MoeShape, routing: Routing, seed: number): Binding {
  const { layout, tokens, experts, topK, capacityFactor } = shape;
  // Recordings are long: one is told from another by itself.
  const recorded = routing.kind === 'recorded';
  const key = JSON.stringify([layout, tokens, experts, topK, String(capacityFactor), seed, recorded ? '' : routing]);
  const recent = recorded ? recordedBindings(routing) : drawnBindings;
  return recent.of(key, () => newBinding(shape, routing, seed));
}

/** Those of the shapes, draws and seeds that were asked for last: a choice asks for the same again. */
const mostBindings = 8;
const newRecent = (): Recent<Binding> => new Recent(mostBindings);
const drawnBindings = newRecent();
const recordedBindings = memoized<Routing, Recent<Binding>>(newRecent);

function newBinding(shape: MoeShape, routing: Routing, seed: number): Binding {
  const { layout } = shape;
  const sources = layout.etp * layout.ep;
  const cache = new Map<number, GroupRouting>();
  const reach = expectedReach(shape, spreadOf(routing, seed));
  const routingOf = (group: number): GroupRouting => {
    const known = cache.get(group);
    if (known) return known;
    const wanted = evenedCounts(shape, routing) ?? countsOf({ shape, routing, seed, group });
    const counts = wanted.slice();
    capAt(counts, shape);
    // Capacity takes its share of sums, and does not say of which tokens.
    const picks = (source: number): Int32Array => sampleIds(drawOf({ shape, routing, seed, group, source }));
    const dropless = shape.capacityFactor === undefined;
    const keptOf = expectedKeptReach(shape, spreadOf(routing, seed), (source, expert) => {
      const place = (source % sources) * shape.experts + expert;
      return wanted[place] ? (counts[place] ?? 0) / wanted[place] : 1;
    });
    const routed = new GroupRouting(
      shape,
      counts,
      (source) => (dropless ? { ids: picks(source), topK: shape.topK } : undefined),
      {
        reach: dropless
          ? (source, range) => reach(group * sources + source, range)
          : (source, range) => keptOf(group * sources + source, range),
      },
    );
    cache.set(group, routed);
    return routed;
  };
  const alike = likenessOf(shape, routing, () => routingOf(0));
  return new RoutingBinding(layout, (rank) => routingOf(groupNumber(layout, 'expert', rank)), alike);
}

/**
 * Which ranks see the same: all where every slice sends the same to every rank, whole groups where each has the same
 * slices of its replicas and even routing.
 */
function likenessOf({ tokens, layout }: MoeShape, routing: Routing, first: () => GroupRouting): Likeness | undefined {
  if (routing.kind !== 'uniform') return undefined;
  const evenSlices = tokens % layout.tp === 0;
  if (!evenSlices && (layout.etp * layout.ep) % layout.tp !== 0) return undefined;
  const { counts, localExperts: local } = first();
  return evenSlices && counts.every((rows, index) => rows === counts[index % local]) ? 'ranks' : 'groups';
}

/** Slices of an expert group above which even routing is made the same for all of them. */
const evenedAbove = 32;

/**
 * Even routing in which every slice sends equally many rows to every rank, within half a row of the mean: where whole
 * rows do not go round, exact counts differ by one here and there, and no rank is like another. Undefined in small
 * groups, where slices differ in length, and for other routing.
 */
function evenedCounts({ tokens, topK, experts, layout }: MoeShape, routing: Routing): Int32Array | undefined {
  const many = layout.etp * layout.ep > evenedAbove;
  if (routing.kind !== 'uniform' || !many || tokens % layout.tp !== 0) return undefined;
  const local = localExperts(layout, experts);
  const rows = Math.round(((tokens / layout.tp) * topK) / layout.ep);
  return Int32Array.from({ length: layout.etp * layout.ep * experts }, (_, index) =>
    sliceLength(rows, index % local, local),
  );
}

/** Which slice's tokens are routed, and how. */
interface SliceDraw {
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly group: number;
  readonly source: number;
}

/** All slices' rows by expert. */
function countsOf(group: Omit<SliceDraw, 'source'>): Int32Array {
  const { layout, experts } = group.shape;
  const sources = layout.etp * layout.ep;
  const counts = new Int32Array(sources * experts);
  for (let source = 0; source < sources; source++) counts.set(rowOf({ ...group, source }), source * experts);
  return counts;
}

/** One slice's rows by expert. */
function rowOf(slice: SliceDraw): Int32Array {
  const request = drawOf(slice);
  const { shape, routing, source } = slice;
  const { etp, ep } = shape.layout;
  const even = routing.kind === 'uniform' || routing.kind === 'group-limited';
  const counts = even
    ? balancedCounts({ ...request, firstSource: 0, sources: etp * ep })[source]
    : sampleCounts(request)[0];
  return counts ?? new Int32Array(shape.experts);
}

/** Hot experts where the seed of the routing puts them, or else the workload's. */
const spreadOf = (routing: Routing, seed: number): Routing =>
  routing.kind === 'zipf' ? { ...routing, seed: routing.seed ?? seed } : routing;

/** What is drawn for one slice, with a seed of its own. */
function drawOf({ shape, routing, seed, group, source }: SliceDraw) {
  const { layout, tokens, experts, topK } = shape;
  const global = group * layout.etp * layout.ep + source;
  const tokensPerSource = sliceLength(tokens, sliceIndex(layout, global), layout.tp);
  const spread = spreadOf(routing, seed);
  return { sources: 1, firstSource: global, tokensPerSource, experts, topK, routing: spread, seed: seed + global };
}

function capAt(counts: Int32Array, { capacityFactor, topK, tokens, experts, layout }: MoeShape): void {
  if (capacityFactor === undefined) return;
  const capacity = Math.ceil((capacityFactor * topK * tokens) / experts);
  const slices = layout.tp;
  for (let first = 0; first < counts.length / experts; first += slices) {
    for (let expert = 0; expert < experts; expert++) {
      const at = (slice: number): number => (first + slice) * experts + expert;
      let total = 0;
      for (let slice = 0; slice < slices; slice++) total += counts[at(slice)] ?? 0;
      if (total <= capacity) continue;
      let before = 0;
      for (let slice = 0; slice < slices; slice++) {
        const until = before + (counts[at(slice)] ?? 0);
        counts[at(slice)] = Math.floor((until * capacity) / total) - Math.floor((before * capacity) / total);
        before = until;
      }
    }
  }
}

const recentPrograms = new Recent<Map<string, Program>>(8);

/**
 * Programs by scope, pass and strategy, of all shapes that have the same. How many replicas and expert groups there are
 * makes no difference to what a rank does in a layer, but for the tokens that a loss is pooled over: they cost nothing.
 */
const programsOf = memoized(({ numerics, ...shape }: MoeShape): Map<string, Program> => {
  const layout = { ...shape.layout, dp: 0, edp: 0 };
  const key = JSON.stringify({ ...shape, layout, numerics: { ...numerics, pooledTokens: 0 } });
  return recentPrograms.of(key, () => new Map<string, Program>());
});

/** The program of one pass of the workload; one for shapes that have the same, however often it is asked for. */
export function passProgram({ shape, scope }: Workload, strategy: Strategy, pass: LayerPass): Program {
  const known = programsOf(shape);
  const key = `${scope} ${pass} ${strategy.dispatch} ${strategy.combine} ${strategy.chunks[pass]}`;
  let program = known.get(key);
  if (program === undefined) known.set(key, (program = newProgram(shape, scope, strategy, pass)));
  return program;
}

function newProgram(shape: MoeShape, scope: Workload['scope'], strategy: Strategy, pass: LayerPass): Program {
  if (scope === 'dispatch') return dispatchProgram(shape, strategy, [pass]);
  const template = pass === 'forward' ? moeForward(shape, strategy) : moeBackward(shape, strategy);
  return {
    stage: 0,
    templates: { [template.name]: template },
    nodes: [{ template: template.name, layer: 0, microBatch: 0, pass, after: [] }],
  };
}

/** Simulates one pass. */
export function simulatePass(
  workload: Workload,
  strategy: Strategy,
  pass: LayerPass,
  binding: Binding,
): Simulation | UnknownEstimate {
  const { cluster, shape, model, hostCores } = workload;
  return simulate({
    place: placeOf(shape.layout, cluster),
    // the stages of a pipeline do the same, each with its own layers
    programs: Array.from({ length: shape.layout.pp }, () => passProgram(workload, strategy, pass)),
    bindings: [binding],
    model,
    hostCores,
  });
}

/** Summarizes a simulated pass for a plan; what few candidates are asked for is worked out when it is. */
export function passPrice({ summary }: Simulation, cluster: Cluster, chunks: number): PassPrice {
  const bytes = once(() => tierBytes(summary, cluster));
  const held = once(() => summary.held.map(({ name, seconds }) => ({ name, seconds })));
  return {
    chunks,
    seconds: summary.makespanSeconds,
    get bytes() {
      return bytes();
    },
    get hiddenShare() {
      return Math.max(0, summary.times.hiddenShare);
    },
    boundSeconds: summary.portKinds.reduce((most, { busySeconds }) => Math.max(most, busySeconds), 0),
    get held() {
      return held();
    },
    basis: summary.basis,
    get expectedError() {
      return simulationError(summary);
    },
    collectives: summary.collectives,
  };
}

/**
 * Relative error to expect of a simulation: of what held its critical path, by its share. Links and latencies are as
 * well known as the collectives, by their bytes, lanes as their kernels; the host is an assumption.
 */
export function simulationError({ held, collectives, kernelBasis }: SimulationSummary): number {
  const bytes = collectives.reduce((sum, one) => sum + one.bytes, 0);
  const links = bytes === 0 ? 0 : collectives.reduce((sum, one) => sum + (one.bytes / bytes) * errorOf(one), 0);
  const errors = { port: links, lane: assumedError[kernelBasis], latency: links, host: assumedError.datasheet };
  return held.reduce((sum, { kind, share }) => sum + share * errors[kind], 0);
}
