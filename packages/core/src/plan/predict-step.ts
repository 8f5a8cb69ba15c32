/**
 * The time of a whole training step. A step's program is simulated; a deep model's is simulated at small depths and
 * extended: layers are alike and follow one another, so time is linear in their number and in the micro-batches.
 */
import type { Cluster } from '../cluster/cluster.js';
import { weakestBasis, type Basis, type CostModel, type UnknownEstimate } from '../cost/index.js';
import { placedOn } from '../layout/mesh.js';
import type { MoeModel } from '../model/model.js';
import type { Routing } from '../routing/index.js';
import type { Pass } from '../schedule/schedule.js';
import { trainingStep } from '../schedule/step.js';
import { moeShape, stepTokens, type StepShape } from '../schedule/step-shape.js';
import { placeOf, simulate, type HostCores, type Simulation } from '../simulate/index.js';
import type { Trace } from '../trace/index.js';
import { routedBinding } from './workload.js';

export interface StepWorkload {
  readonly cluster: Cluster;
  readonly step: StepShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly model: CostModel;
  readonly hostCores?: HostCores;
}

export interface StepPrediction {
  readonly known: true;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly basis: Basis;
  /** Whether all layers were simulated, or fewer and their time extended. */
  readonly extended: boolean;
  /** Simulated spans: of the whole step, or of the shallow one that it was extended from. */
  readonly trace: Trace;
}

/** Layers times micro-batches up to which the whole step is simulated. */
const wholeUpTo = 6;

/** The model with so many layers with experts, then so many without. */
function shallow(model: MoeModel, moe: number, dense: number): MoeModel {
  const moeLayers = Array.from({ length: moe + dense }, (_, layer) => layer < moe);
  return { ...model, layers: moe + dense, moeLayers };
}

/**
 * Parts of a step: its passes, with or without the reductions that run beside the last micro-batch's backward, the
 * update behind them, or all.
 */
const parts = {
  passes: ['forward', 'recompute', 'backward'],
  reduced: ['forward', 'recompute', 'backward', 'reduce'],
  update: ['update'],
  all: ['forward', 'recompute', 'backward', 'reduce', 'update'],
} as const satisfies Record<string, readonly Pass[]>;

/** Simulates a part of a step. */
function run(workload: StepWorkload, step: StepShape, part: keyof typeof parts): Simulation | UnknownEstimate {
  const { cluster, routing, seed, model, hostCores } = workload;
  const program = trainingStep(step);
  const passes: readonly Pass[] = parts[part];
  return simulate({
    place: placeOf(step.layout, cluster),
    programs: [{ ...program, nodes: program.nodes.filter(({ pass }) => passes.includes(pass)) }],
    bindings: [routedBinding(moeShape(step), routing, seed)],
    model,
    hostCores,
  });
}

/**
 * Predicts a step; `unknown` when the cost model can't price a kernel. All layers see the same routing. With n layers
 * with experts, d without, b micro-batches, P the time of one micro-batch's passes and R of the last one's, reductions
 * beside them, and the update U: U + R + (n-1) (R(2, 0) - R) + d (R(1, 1) - R) + (b-1) (P(1, 0, 2) - P + (n-1) (P(2, 0)
 * - P) + d (P(1, 1) - P)), where nothing else is said of (1, 0) layers and one micro-batch. Where a forward runs beside
 * another micro-batch's backward, a further micro-batch is Q = P(2 micro-batches) - P(1), and linear in layers as P is.
 */
export function predictStep(given: StepWorkload): StepPrediction | UnknownEstimate {
  const step = { ...given.step, layout: placedOn(given.step.layout, given.cluster) };
  const workload = { ...given, step };
  const { model, microBatches } = step;
  const tokens = stepTokens(step) * microBatches * step.layout.dp * step.layout.cp;
  const result = (seconds: number, simulation: Simulation, extended: boolean): StepPrediction => ({
    known: true,
    seconds,
    tokensPerSecond: tokens / seconds,
    basis: weakestBasis([simulation.summary.basis]),
    extended,
    trace: simulation.trace,
  });
  const moe = model.moeLayers.filter(Boolean).length;
  const dense = model.layers - moe;
  if (model.layers * microBatches <= wholeUpTo || moe === 0) {
    const whole = run(workload, step, 'all');
    return whole.known ? result(whole.summary.makespanSeconds, whole, false) : whole;
  }
  const at = (part: 'passes' | 'reduced', m: number, d: number, b: number): Simulation | UnknownEstimate =>
    run(workload, { ...step, model: shallow(model, m, d), microBatches: b }, part);
  /** Seconds of a part at the least depth, and with all layers. */
  const extended = (part: 'passes' | 'reduced', batches = 1): Extended | UnknownEstimate => {
    const one = at(part, 1, 0, batches);
    const two = at(part, 2, 0, batches);
    const mixed = dense > 0 ? at(part, 1, 1, batches) : one;
    if (!one.known) return one;
    if (!two.known) return two;
    if (!mixed.known) return mixed;
    const least = one.summary.makespanSeconds;
    const more = (moe - 1) * (two.summary.makespanSeconds - least) + dense * (mixed.summary.makespanSeconds - least);
    return { known: true, least, whole: least + more, simulation: two };
  };
  const update = run(workload, step, 'update');
  const last = extended('reduced');
  if (!update.known) return update;
  if (!last.known) return last;
  const behind = last.whole + update.summary.makespanSeconds;
  if (microBatches === 1) return result(behind, last.simulation, true);
  const others = extended('passes');
  if (!others.known) return others;
  if (step.passes === 'beside') {
    const pairs = extended('passes', 2);
    return pairs.known
      ? result(behind + (microBatches - 1) * (pairs.whole - others.whole), last.simulation, true)
      : pairs;
  }
  const repeated = at('passes', 1, 0, 2);
  if (!repeated.known) return repeated;
  const again = repeated.summary.makespanSeconds - others.least + (others.whole - others.least);
  return result(behind + (microBatches - 1) * again, last.simulation, true);
}

/** Passes of few layers, and what all layers would take. */
interface Extended {
  readonly known: true;
  readonly least: number;
  readonly whole: number;
  readonly simulation: Simulation;
}

/**
 * Share of a step that is spent in MoE layers, of which one takes `layerSeconds` forward and backward: what the others
 * take is the same whatever the dispatch, and as well known.
 */
export const moeShare = ({ model, microBatches }: StepShape, layerSeconds: number, stepSeconds: number): number =>
  Math.min(1, (layerSeconds * microBatches * model.moeLayers.filter(Boolean).length) / stepSeconds);
