/**
 * Training steps before the run, of what the model cannot tell apart. Dispatchers give the same numbers, so nothing but
 * time depends on it.
 */
import {
  judgeStrategies,
  trialRounds,
  type PlannedStrategy,
  type StepPrediction,
  type TrialOutcome,
} from '@monta/core';
import { tryStrategies, type Launcher } from '@monta/runtime';
import type { Setting } from './setting.js';
import { jobOf } from './strategies-run.js';

/** Where training steps can be tried, and from what weights. */
export interface TrialGround {
  readonly launcher: Launcher;
  readonly resume?: string;
  readonly signal: AbortSignal;
  readonly onTrial: (labels: readonly string[], steps: number) => void;
}

/**
 * Runs at least so many training steps with each strategy, as many in every turn. `modelError`: relative error of a
 * step's prediction beside a factor common to all.
 */
export async function tryClose({
  setting,
  close,
  steps,
  modelError,
  ground: { launcher, resume, onTrial, signal },
}: {
  readonly setting: Setting;
  readonly close: readonly PlannedStrategy[];
  readonly steps: number;
  readonly modelError: (step: StepPrediction) => number;
  readonly ground: TrialGround;
}): Promise<TrialOutcome> {
  const [first] = close;
  if (first === undefined) return { tried: [], fastest: -1 };
  const rounds = Math.min(trialRounds.turns, steps);
  const stepsOfTurn = Math.ceil(steps / rounds);
  onTrial(
    close.map(({ label }) => label),
    rounds * stepsOfTurn,
  );
  const measured = await tryStrategies({
    trial: {
      job: jobOf(setting, first, undefined, resume),
      ways: close.map(({ strategy }) => ({ strategy })),
      warmUps: trialRounds.warmUps,
      turns: rounds,
      steps: stepsOfTurn,
    },
    launcher,
    ...(setting.fabric === undefined ? {} : { fabric: setting.fabric }),
    signal,
  });
  return judgeStrategies(close, measured, modelError(first.predicted));
}
