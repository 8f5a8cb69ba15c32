/**
 * Fits the constants of the step model to published runs: least squares of the logarithm of predicted over measured
 * seconds, large errors counted less (Cauchy), every constant held near what is known of it. Deterministic.
 */
import type { FittedConstant, StepConstants } from './constants.js';
import { solveLinear } from '../units/linear-system.js';
import { priceStep } from './step-prices.js';
import type { RunSetting } from './run-setting.js';

export interface TimedRun {
  readonly setting: RunSetting;
  readonly measuredSeconds: number;
}

/** What is known of a constant before any run: its middle, and by what factor it may be off (one deviation). */
export interface Prior {
  /** Of the constant; where it is known beside another one, of its share of that. */
  readonly middle: number;
  readonly of?: FittedConstant;
  readonly factor: number;
  /** Above which it makes no sense, as 1 for a share. */
  readonly most?: number;
  /** Where the middle comes from. */
  readonly source: string;
}
export type Priors = Readonly<Record<FittedConstant, Prior>>;
/** Of those that a fit moves. */
type SomePriors = Readonly<Partial<Record<keyof StepConstants, Prior>>>;

/** Errors far beyond this, in logarithms, hardly count: rows that contradict themselves, stacks that are not known. */
const softness = 0.08;
/** Deviation of a run from another of the same configuration (median 2 to 3 %). */
const noise = 0.05;

/** Logarithm of predicted over measured seconds. */
export function logErrors(runs: readonly TimedRun[], constants: StepConstants): Float64Array {
  return Float64Array.from(runs, ({ setting, measuredSeconds }) => {
    const { seconds } = priceStep(setting, constants);
    return Math.log(seconds / measuredSeconds);
  });
}

const softSquare = (error: number): number => softness ** 2 * Math.log1p((error / softness) ** 2);

class Problem {
  readonly names: readonly (keyof StepConstants)[];
  readonly #runs: readonly TimedRun[];
  readonly #priors: SomePriors;
  readonly #start: StepConstants;

  constructor(runs: readonly TimedRun[], priors: SomePriors, start: StepConstants) {
    this.#runs = runs;
    this.#priors = priors;
    this.#start = start;
    this.names = Object.keys(priors) as (keyof StepConstants)[];
  }

  constants(logs: readonly number[]): StepConstants {
    const changed = this.names.map((name, index) => {
      const value = Math.exp(logs[index] ?? 0);
      return [name, Math.min(value, this.#priors[name]?.most ?? Number.POSITIVE_INFINITY)] as const;
    });
    return { ...this.#start, ...Object.fromEntries(changed) };
  }

  errors(logs: readonly number[]): Float64Array {
    return logErrors(this.#runs, this.constants(logs));
  }

  /** Place of the constant beside which one is known; undefined: it is known by itself. */
  #beside(index: number): number | undefined {
    const of = this.#priors[this.names[index] ?? 'gemmHopper']?.of;
    return of === undefined ? undefined : this.names.indexOf(of);
  }

  /** Distance from the prior, in deviations. */
  #distance(logs: readonly number[], index: number): number {
    const name = this.names[index];
    const prior = name === undefined ? undefined : this.#priors[name];
    if (prior === undefined) return 0;
    const beside = this.#beside(index);
    const middle = Math.log(prior.middle) + (beside === undefined ? 0 : (logs[beside] ?? 0));
    return ((logs[index] ?? 0) - middle) / Math.log(prior.factor);
  }

  loss(logs: readonly number[], errors: Float64Array): number {
    const data = errors.reduce((sum, error) => sum + softSquare(error), 0) / noise ** 2;
    return data + this.names.reduce((sum, _, index) => sum + this.#distance(logs, index) ** 2, 0);
  }

  /** One step of Gauss-Newton, damped. */
  step(logs: readonly number[], errors: Float64Array, jacobian: readonly Float64Array[], damping: number): number[] {
    const n = this.names.length;
    const weights = errors.map((error) => 1 / (1 + (error / softness) ** 2) / noise ** 2);
    const dot = (a: Float64Array, b: Float64Array): number =>
      a.reduce((sum, value, row) => sum + value * (b[row] ?? 0) * (weights[row] ?? 0), 0);
    const empty = new Float64Array(errors.length);
    const matrix = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_unused, j) => dot(jacobian[i] ?? empty, jacobian[j] ?? empty)),
    );
    const right = Array.from({ length: n }, (_, i) => -dot(jacobian[i] ?? empty, errors));
    for (let i = 0; i < n; i++) {
      const name = this.names[i];
      const deviation = Math.log((name === undefined ? undefined : this.#priors[name]?.factor) ?? Math.E);
      const weight = 1 / deviation ** 2;
      const pull = this.#distance(logs, i) / deviation;
      matrix[i][i] += weight;
      right[i] -= pull;
      const beside = this.#beside(i);
      if (beside === undefined) continue;
      matrix[beside][beside] += weight;
      matrix[i][beside] -= weight;
      matrix[beside][i] -= weight;
      right[beside] += pull;
    }
    for (let i = 0; i < n; i++) matrix[i][i] *= 1 + damping;
    return solveLinear(matrix, right);
  }
}

export interface FitRequest {
  readonly runs: readonly TimedRun[];
  readonly priors: SomePriors;
  readonly start: StepConstants;
  /** Steps at most; it ends before where nothing improves. */
  readonly iterations: number;
}

export interface FitResult {
  readonly constants: StepConstants;
  readonly loss: number;
}

const smallStep = 1e-3;
/** A step changes no constant by more than this factor's logarithm. */
const longestStep = 0.7;

/** Fits the constants that `priors` names, the others stay as in `start`. */
export function fitStepConstants({ runs, priors, start, iterations }: FitRequest): FitResult {
  const problem = new Problem(runs, priors, start);
  let logs = problem.names.map((name) => Math.log(start[name]));
  let errors = problem.errors(logs);
  let loss = problem.loss(logs, errors);
  let damping = 1e-3;
  for (let iteration = 0; iteration < iterations; iteration++) {
    const jacobian = logs.map((_, index) => {
      const moved = problem.errors(logs.map((value, other) => (other === index ? value - smallStep : value)));
      return moved.map((error, row) => ((errors[row] ?? 0) - error) / smallStep);
    });
    const before = loss;
    for (let attempt = 0; attempt < 8; attempt++) {
      const step = problem.step(logs, errors, jacobian, damping);
      const candidate = logs.map((value, index) => {
        const change = Math.max(-longestStep, Math.min(longestStep, step[index] ?? 0));
        const most = priors[problem.names[index] ?? 'gemmHopper']?.most ?? Number.POSITIVE_INFINITY;
        return Math.min(value + change, Math.log(most));
      });
      const moved = problem.errors(candidate);
      const movedLoss = problem.loss(candidate, moved);
      if (movedLoss < loss) {
        [logs, errors, loss] = [candidate, moved, movedLoss];
        damping = Math.max(1e-6, damping / 5);
        break;
      }
      damping *= 5;
    }
    if (before - loss < 1e-4 * before) break;
  }
  return { constants: problem.constants(logs), loss };
}
