/**
 * What a training run will run: predictions choose, and what they cannot tell apart is left open until it was tried.
 */
import type { Cluster } from '../cluster/cluster.js';
import type { CostModel } from '../cost/index.js';
import { sameSums, type Strategy } from '../schedule/dispatchers/strategies.js';
import { strategyLabel } from '../schedule/dispatchers/strategy-names.js';
import { overlapKinds, type Overlap } from '../schedule/overlap.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import type { HostCores } from '../simulate/index.js';
import { InputError } from '../units/index.js';
import { chooseDispatch, type Candidate, type Choice } from './choose.js';
import { apartText, withOverlap } from './choose-overlap.js';
import { decisionReasons, type Reason, type TriedStrategy } from './decision-reasons.js';
import { moeShare, predictStep, type StepPrediction } from './predict-step.js';
import { closeCandidates, judgeWays, trialSize, type TrialRun } from './trials.js';
import type { Workload } from './workload.js';

/** One strategy that will run, and what it should take. */
export interface PlannedStrategy {
  /** As `scattered, 4 / 2 chunks`. */
  readonly label: string;
  readonly role: 'chosen' | 'baseline' | 'fixed';
  readonly strategy: Strategy;
  /** What of its layer runs beside what. */
  readonly overlap: Overlap;
  readonly predicted: StepPrediction;
}

export interface RunPlan {
  readonly chosen: PlannedStrategy;
  /** What the choice is compared to: `duplicated`, and the best fixed strategy when it is another one. */
  readonly compared: readonly PlannedStrategy[];
  readonly choice?: Choice;
  /** What was tried before choosing; empty where predictions alone chose. */
  readonly tried: readonly TriedStrategy[];
  readonly reasons: readonly Reason[];
  readonly model: CostModel;
}

/** What was tried, and which of it the run takes; -1 for none. */
export interface TrialOutcome {
  readonly tried: readonly TriedStrategy[];
  readonly fastest: number;
}

/**
 * Judges trials of steps: `measured` has the seconds of every strategy's steps, in the order of `close`. `modelError`:
 * relative error of a step's prediction beside a factor common to all.
 */
export function judgeStrategies(
  close: readonly PlannedStrategy[],
  measured: readonly (readonly number[])[],
  modelError: number,
): TrialOutcome {
  const ways = close.map(({ label, predicted }, index) => [
    { name: label, predictedSeconds: predicted.seconds, measured: measured[index] ?? [] },
  ]);
  const { seconds, fastest } = judgeWays(ways, modelError);
  const tried = close.map(({ label, predicted }, index) => ({
    label,
    predictedStepSeconds: predicted.seconds,
    measured: measured[index] ?? [],
    likelySeconds: seconds[index] ?? Infinity,
  }));
  return { tried, fastest };
}

/** A run to plan. */
export interface PlanRequest {
  /** As ranks see it. */
  readonly cluster: Cluster;
  readonly hostCores: HostCores;
  /** Its strategy does not matter. */
  readonly step: StepShape;
  readonly seed: number;
  readonly model: CostModel;
  readonly run: TrialRun;
  /** The strategy that a person gave; without one the plan chooses. */
  readonly given?: Strategy;
}

/** A plan as far as predictions go. */
export interface OpenPlan {
  readonly request: PlanRequest;
  readonly workload: Workload;
  readonly choice: Choice;
  /** What is to be tried, the best first; none where predictions alone choose. */
  readonly close: readonly PlannedStrategy[];
  /** Timed steps of each. */
  readonly trialSteps: number;
  /** Predicts the step of a strategy, each once. */
  readonly planned: (role: PlannedStrategy['role'], way: PlannedWay) => PlannedStrategy;
}

/** A strategy, and what was chosen of overlap with it; else as the step says. */
type PlannedWay = Pick<Candidate, 'strategy' | 'overlap'>;

/** As `scattered, 4 chunks`, with the kinds of overlap that a plan switched off. */
const labelOf = ({ strategy, overlap }: PlannedWay): string => `${strategyLabel(strategy)}${apartText(overlap)}`;

function predictor({ cluster, hostCores, step, seed, model }: PlanRequest): OpenPlan['planned'] {
  const predictions = new Map<string, StepPrediction>();
  const predict = (strategy: Strategy, overlap: Overlap): StepPrediction => {
    const routing = { kind: 'uniform' } as const;
    const prediction = predictStep({ cluster, hostCores, step: { ...step, strategy, overlap }, routing, seed, model });
    if (!prediction.known)
      throw new InputError('the step cannot be priced', { expected: prediction.missing.join('; ') });
    return prediction;
  };
  return (role, way) => {
    const { strategy, overlap = step.overlap ?? {} } = way;
    const label = labelOf(way);
    const predicted = predictions.get(label) ?? predict(strategy, overlap);
    predictions.set(label, predicted);
    return { label, role, strategy, overlap, predicted };
  };
}

/**
 * Chooses by predictions, and says what they cannot tell apart, where the run is long enough to try it. Throws
 * `InputError` for what cannot be priced.
 */
export function openPlan(request: PlanRequest): OpenPlan {
  const { cluster, hostCores, step, seed, model, run, given } = request;
  const shape = moeShape(step);
  const workload: Workload = { cluster, shape, routing: { kind: 'uniform' }, seed, model, hostCores, scope: 'layer' };
  // What is taken may rest on times of this machine, and must not show in the losses.
  const dispatch = chooseDispatch(workload, { halves: sameSums() });
  // the kinds that the step names were given
  const fixed = overlapKinds.filter((kind) => step.overlap?.[kind] !== undefined);
  const choice = dispatch.known ? withOverlap(workload, dispatch, { given: fixed }) : dispatch;
  if (!choice.known) throw new InputError('the dispatch cannot be priced', { expected: choice.missing.join('; ') });
  const planned = predictor(request);
  const candidates = given === undefined ? closeCandidates(choice) : [];
  const { strategies, steps: trialSteps } = trialSize(run, candidates.length);
  const close = candidates.slice(0, strategies).map((way) => planned('chosen', way));
  return { request, workload, choice, close, trialSteps, planned };
}

/**
 * Settles a plan with the seconds of the steps that were tried, in the order of `close`. `layerError`: relative error
 * of the prediction of a MoE layer. What a person gave is taken; it is compared all the same.
 */
export function settlePlan(
  { request, workload, choice, close, planned }: OpenPlan,
  measured: readonly (readonly number[])[],
  layerError: number,
): RunPlan {
  const { step, given, model } = request;
  const [first] = close;
  const share = first === undefined ? 1 : moeShare(step, choice.best.seconds, first.predicted.seconds);
  const { tried, fastest } = judgeStrategies(close, measured, layerError * share);
  const taken: Choice = { ...choice, best: closeCandidates(choice)[fastest] ?? choice.best };
  const chosen = planned('chosen', given === undefined ? taken.best : { strategy: given });
  const compared = [
    ...(choice.baseline ? [planned('baseline', choice.baseline)] : []),
    ...(choice.bestFixed !== choice.baseline ? [planned('fixed', choice.bestFixed)] : []),
  ].filter((one) => one.label !== chosen.label);
  const named = given === undefined ? {} : { given: chosen.label };
  const reasons = decisionReasons({ workload, choice, taken, tried, ...named });
  return { chosen, compared, choice: taken, tried, reasons, model };
}
