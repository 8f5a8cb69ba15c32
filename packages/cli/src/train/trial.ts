/**
 * What the model cannot tell apart takes a few training steps before the run, and predictions and steps decide together. Dispatchers give the same
 * numbers, so nothing but time depends on it.
 */
import {
  closeShare,
  formatSeconds,
  likelySeconds,
  median,
  type Candidate,
  type Choice,
  type StepPrediction,
} from '@monta/core';
import { tryStrategies, type Launcher } from '@monta/runtime';
import type { PlannedStrategy } from './run-plan.js';
import type { Setting } from './setting.js';
import { jobOf } from './strategies-run.js';

/** One way that was tried. */
export interface TriedStrategy {
  readonly label: string;
  readonly predictedStepSeconds: number;
  /** Seconds of each step. */
  readonly measured: readonly number[];
  /** What both together say. */
  readonly likelySeconds: number;
}

/** Where training steps can be tried, and from what weights. */
export interface TrialGround {
  readonly launcher: Launcher;
  readonly resume?: string;
  readonly signal: AbortSignal;
  readonly onTrial: (labels: readonly string[], steps: number) => void;
}

/** More are not tried, however close. */
const mostTried = 4;
/** Timed steps of each; fewer than the least say nothing. */
const [fewestSteps, mostSteps] = [4, 12];
/** Of the run's steps, what trials may take in all, unless a number is given. */
const shareOfRun = 0.2;
const turns = 2;
/** Steps before all: code is compiled while they run, and the first ways tried would seem slow. */
const warmUps = 10;

/** The candidates worth trying, best first; the best alone where nothing else is close. */
export const closeCandidates = ({ candidates, best }: Choice): Candidate[] =>
  candidates.filter(({ seconds }) => seconds <= best.seconds * (1 + closeShare)).slice(0, mostTried);

/** How many of the close strategies are tried, the best first, and for how many timed steps each; none: predictions alone choose. */
export function trialSize(
  { config, ranks }: Setting,
  close: number,
): { readonly strategies: number; readonly steps: number } {
  const none = { strategies: 0, steps: 0 };
  if (ranks === 1 || close < 2) return none;
  if (config.trialSteps !== undefined)
    return config.trialSteps === 0 ? none : { strategies: close, steps: config.trialSteps };
  for (let strategies = close; strategies >= 2; strategies--) {
    // one more of each in every turn is not timed
    const steps = Math.floor((config.steps * shareOfRun - warmUps) / strategies) - turns;
    if (steps >= fewestSteps) return { strategies, steps: Math.min(mostSteps, steps) };
  }
  return none;
}

/** Runs at least so many training steps with each strategy, as many in every turn. `modelError`: relative error of a step's prediction beside a factor common to all. */
export async function tryClose(
  setting: Setting,
  close: readonly PlannedStrategy[],
  steps: number,
  modelError: (step: StepPrediction) => number,
  { launcher, resume, onTrial, signal }: TrialGround,
): Promise<TriedStrategy[]> {
  const [first] = close;
  if (first === undefined) return [];
  const rounds = Math.min(turns, steps);
  const stepsOfTurn = Math.ceil(steps / rounds);
  onTrial(
    close.map(({ label }) => label),
    rounds * stepsOfTurn,
  );
  const measured = await tryStrategies({
    trial: {
      job: jobOf(setting, first, undefined, resume),
      strategies: close.map(({ strategy }) => strategy),
      warmUps,
      turns: rounds,
      steps: stepsOfTurn,
    },
    launcher,
    ...(setting.fabric === undefined ? {} : { fabric: setting.fabric }),
    signal,
  });
  const trials = close.map(({ label, predicted }, index) => ({
    label,
    predictedSeconds: predicted.seconds,
    measured: measured[index] ?? [],
  }));
  const likely = likelySeconds(trials, modelError(first.predicted));
  return trials.map(({ label, predictedSeconds, measured: runs }, index) => ({
    label,
    predictedStepSeconds: predictedSeconds,
    measured: runs,
    likelySeconds: likely[index] ?? Infinity,
  }));
}

/** One line on a trial, the likeliest first. */
export function trialText(tried: readonly TriedStrategy[]): string {
  const [first] = tried;
  const times = [...tried]
    .sort((a, b) => a.likelySeconds - b.likelySeconds)
    .map(
      ({ label, measured, predictedStepSeconds }) =>
        `${label} ${formatSeconds(median(measured))} (predicted ${formatSeconds(predictedStepSeconds)})`,
    );
  return `${times.join('; ')}: medians of ${first?.measured.length ?? 0} steps, weighed with the predictions`;
}
