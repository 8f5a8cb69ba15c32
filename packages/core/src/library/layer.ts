/** One MoE layer and one step in a given layout: how tokens should travel, how long it takes, which bytes go where. */
import { collectiveAlgorithm, describeCostModel } from '../cost/index.js';
import { formatLayout } from '../layout/index.js';
import {
  chooseDispatch as chooseAmong,
  passPrice,
  passProgram,
  predictStep,
  reasons,
  routedBinding,
  simulatePass,
  unpricedInStep,
  type Choice,
  type LayerPass,
  type PassPrice,
  type Workload as LayerWorkload,
} from '../plan/index.js';
import {
  formatDispatch,
  parseDispatch,
  unsupportedStrategy,
  type StepShape,
  type Strategy,
} from '../schedule/index.js';
import { fabricOf, traffic as countBytes } from '../traffic/index.js';
import type { Trace } from '../trace/index.js';
import { InputError } from '../units/index.js';
import { layerOf, refuseStages, stepOf, type LayerQuestion } from './subject.js';

const unpriced = (missing: readonly string[]): InputError =>
  new InputError('this cannot be priced', { path: 'cluster', expected: missing.join('; ') });

/** The choice of a way to dispatch and combine. */
export interface DispatchChoice extends Omit<Choice, 'known'> {
  /** Why the best is the best, one sentence each. */
  readonly reasons: readonly string[];
  /** Every input that no cluster file holds, with its value and source. */
  readonly inputs: ReturnType<typeof describeCostModel>;
}

/** A layer, and what is tried on it. */
export interface DispatchQuestion extends LayerQuestion {
  /** Chunk counts to try in either pass. Left out: 1, 2, 3, 4, 6, 8, 12, 16. */
  readonly chunks?: readonly number[];
}

function chosen(workload: LayerWorkload, chunkCounts?: readonly number[]): Choice {
  const choice = chooseAmong(workload, chunkCounts === undefined ? {} : { chunkCounts });
  if (!choice.known) throw unpriced(choice.missing);
  return choice;
}

/**
 * How tokens should travel in a layout: every way to dispatch and combine, with chunk counts of its own forward and
 * backward, simulated; the fastest, `duplicated` as the baseline, and the best that one could fix without looking.
 * Throws `InputError`.
 *
 * @example
 * const question = { model: '2x70b', cluster: 'a800-2x2', layout: 'tp=2,dp=2,ep=2', scope: 'dispatch' };
 * const { best, baseline, bestFixed } = chooseDispatch({ ...question, chunks: [1, 4] });
 * console.log(best.seconds <= bestFixed.seconds, bestFixed.seconds < baseline.seconds);
 * // true true
 */
export function chooseDispatch(question: DispatchQuestion): DispatchChoice {
  const step = stepOf(question);
  refuseStages(step);
  const workload = layerOf(question, step);
  const choice = chosen(workload, question.chunks);
  return { ...choice, reasons: reasons(choice), inputs: describeCostModel(workload.model) };
}

/** A layer with the way its tokens travel. */
export interface SimulatedQuestion extends LayerQuestion {
  /** As `scattered:4/2`: a strategy, chunks forward / backward; `auto`, when left out: what `chooseDispatch` takes. */
  readonly dispatch?: string;
}

/** One pass of a layer. */
export interface SimulatedPass extends PassPrice {
  /** Every operation of the simulated ranks; `writePerfetto` makes a file of it. */
  readonly trace: Trace;
}

export interface SimulatedLayer {
  readonly layout: string;
  readonly dispatch: string;
  /** Of both passes. */
  readonly seconds: number;
  readonly forward: SimulatedPass;
  readonly backward: SimulatedPass;
}

/** The step with the way of the question. */
function decided(question: SimulatedQuestion): StepShape {
  const step = stepOf(question);
  const asked = parseDispatch(question.dispatch ?? 'auto');
  if (asked === 'auto') {
    const { best } = chosen(layerOf(question, step));
    return { ...step, layout: best.layout, strategy: best.strategy };
  }
  const refusal = unsupportedStrategy(asked, step);
  if (refusal === undefined) return { ...step, strategy: asked };
  throw new InputError(`${formatDispatch(asked)} cannot run with ${formatLayout(step.layout)}: ${refusal}`, {
    path: 'dispatch',
    expected: 'a way to dispatch that serves the layout; auto takes the fastest',
  });
}

function simulated(workload: LayerWorkload, strategy: Strategy, pass: LayerPass): SimulatedPass {
  const { cluster, shape, routing, seed } = workload;
  const simulation = simulatePass(workload, strategy, pass, routedBinding(shape, routing, seed));
  if (!simulation.known) throw unpriced(simulation.missing);
  return { ...passPrice(simulation, cluster, strategy.chunks[pass]), trace: simulation.trace };
}

/**
 * The timeline of one MoE layer, forward and backward: seconds, bytes of every tier, the share of communication that
 * is hidden, what the time was spent on, and every operation. Predicted, nothing is measured. Throws `InputError`.
 *
 * @example
 * const question = { model: '2x70b', cluster: 'a800-2x8', layout: 'tp=8,dp=2,ep=2', dispatch: 'scattered:4' };
 * const { forward } = simulate(question);
 * console.log(forward.bytes.map(({ name }) => name).join(' '), forward.hiddenShare > 0);
 * // nvlink infiniband true
 */
export function simulate(question: SimulatedQuestion): SimulatedLayer {
  const step = decided(question);
  refuseStages(step);
  const workload = layerOf(question, step);
  const forward = simulated(workload, step.strategy, 'forward');
  const backward = simulated(workload, step.strategy, 'backward');
  return {
    layout: formatLayout(step.layout),
    dispatch: formatDispatch(step.strategy),
    seconds: forward.seconds + backward.seconds,
    forward,
    backward,
  };
}

export interface SimulatedStep {
  readonly layout: string;
  readonly dispatch: string;
  readonly seconds: number;
  /** Over all replicas. */
  readonly tokensPerSecond: number;
  /** Whether all layers were simulated, or fewer and their time extended. */
  readonly extended: boolean;
  /** Of the whole step, or of the shallow one that it was extended from. */
  readonly trace: Trace;
}

/**
 * A whole training step, without pipelines: layers, loss, gradients beside the backward, update. Throws `InputError`
 * for models whose step is not computed whole.
 *
 * @example
 * const question = { model: 'mixtral-8x7b', cluster: 'h100-2x2', layout: 'tp=2,dp=2,ep=2', dispatch: 'scattered' };
 * const { tokensPerSecond, seconds } = simulateStep(question);
 * console.log(Math.round(tokensPerSecond * seconds));
 * // 8192
 */
export function simulateStep(question: SimulatedQuestion): SimulatedStep {
  const step = decided(question);
  refuseStages(step);
  const lacking = unpricedInStep(step.model);
  if (lacking.length > 0)
    throw new InputError(`the step's program lacks ${lacking.join('; ')}`, {
      path: 'model',
      expected: 'a model whose step is computed whole; simulate() takes one layer of any',
    });
  const { cluster, routing, seed, model } = layerOf(question, step);
  const prediction = predictStep({ cluster, step, routing, seed, model });
  if (!prediction.known) throw unpriced(prediction.missing);
  const { seconds, tokensPerSecond, extended, trace } = prediction;
  const [layout, dispatch] = [formatLayout(step.layout), formatDispatch(step.strategy)];
  return { layout, dispatch, seconds, tokensPerSecond, extended, trace };
}

/** Bytes of one layer that cross a tier, forward and backward together. */
export interface TierTraffic {
  readonly tier: string;
  /** What each rank sends, by its number. */
  readonly bytesByRank: readonly number[];
}

/**
 * Bytes that each rank sends on each tier in one MoE layer, both passes: counted from the program that would run, exact
 * for the routing, without times. Throws `InputError`.
 *
 * @example
 * const question = { model: '2x70b', cluster: 'a800-2x8', layout: 'tp=8,dp=2,ep=2', scope: 'dispatch' };
 * const network = (dispatch) => traffic({ ...question, dispatch })[1].bytesByRank[0];
 * console.log(network('duplicated') / network('scattered'));
 * // 8
 */
export function traffic(question: SimulatedQuestion): TierTraffic[] {
  const step = decided(question);
  refuseStages(step);
  const workload = layerOf(question, step);
  const { cluster, shape, routing, seed, model } = workload;
  const fabric = fabricOf(cluster);
  const binding = routedBinding(shape, routing, seed);
  const passes = (['forward', 'backward'] as const).map((pass) =>
    countBytes({
      program: passProgram(workload, step.strategy, pass),
      layout: step.layout,
      cluster,
      binding,
      algorithm: (name, members, load) => collectiveAlgorithm({ model, fabric, name, members, load }),
    }),
  );
  return cluster.tiers.map(({ name }, tier) => {
    const ranks = passes[0]?.sent ?? [];
    const bytesByRank = ranks.map((_, rank) => passes.reduce((sum, { sent }) => sum + (sent[rank]?.[tier] ?? 0), 0));
    return { tier: name, bytesByRank };
  });
}
