/**
 * The time of a whole training step. A step's program is simulated; a deep model's is simulated at small depths and extended: layers are
 * alike and follow one another, so time is linear in their number and in the micro-batches.
 */
import type { Cluster } from '../cluster/cluster.js';
import { weakestBasis, type Basis, type CostModel, type UnknownEstimate } from '../cost/index.js';
import type { MoeModel } from '../model/model.js';
import type { Routing } from '../routing/index.js';
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

/** Simulates a step without its update, only the update, or all of it. */
function run(workload: StepWorkload, step: StepShape, part: 'passes' | 'update' | 'all'): Simulation | UnknownEstimate {
  const { cluster, routing, seed, model, hostCores } = workload;
  const program = trainingStep(step);
  const nodes = program.nodes.filter(({ pass }) => part === 'all' || (pass === 'update') === (part === 'update'));
  return simulate({
    place: placeOf(step.layout, cluster),
    programs: [{ ...program, nodes: part === 'update' ? nodes.map((node) => ({ ...node, after: [] })) : nodes }],
    bindings: [routedBinding(moeShape(step), routing, seed)],
    model,
    hostCores,
  });
}

/**
 * Predicts a step; `unknown` when the cost model can't price a kernel. All layers see the same routing. With n layers with experts, d
 * without, b micro-batches, and T the time without the update U:
 * U + T(1, 0, 1) + (b-1) (T(1, 0, 2) - T(1, 0, 1)) + b ((n-1) (T(2, 0, 1) - T(1, 0, 1)) + d (T(1, 1, 1) - T(1, 0, 1))).
 */
export function predictStep(workload: StepWorkload): StepPrediction | UnknownEstimate {
  const { step } = workload;
  const { model, microBatches } = step;
  const tokens = stepTokens(step) * microBatches * step.layout.dp;
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
  const at = (m: number, d: number, b: number): Simulation | UnknownEstimate =>
    run(workload, { ...step, model: shallow(model, m, d), microBatches: b }, 'passes');
  const one = at(1, 0, 1);
  const two = at(2, 0, 1);
  const mixed = dense > 0 ? at(1, 1, 1) : one;
  const repeated = microBatches > 1 ? at(1, 0, 2) : one;
  const update = run(workload, step, 'update');
  if (!one.known) return one;
  if (!two.known) return two;
  if (!mixed.known) return mixed;
  if (!repeated.known) return repeated;
  if (!update.known) return update;
  const base = one.summary.makespanSeconds;
  const layers = (moe - 1) * (two.summary.makespanSeconds - base) + dense * (mixed.summary.makespanSeconds - base);
  const again = microBatches > 1 ? repeated.summary.makespanSeconds - base : 0;
  const passes = base + (microBatches - 1) * again + microBatches * layers;
  return result(update.summary.makespanSeconds + passes, two, true);
}
