/**
 * Training steps before the run, of what the model cannot tell apart. Dispatchers give the same numbers, so nothing but
 * time depends on it.
 */
import { formatSeconds, judgeWays, median, trialRounds, type StepPrediction } from '@monta/core';
import { tryStrategies, type Launcher } from '@monta/runtime';
import type { PlannedStrategy, TriedStrategy } from './planned-strategy.js';
import type { Setting } from './setting.js';
import { jobOf } from './strategies-run.js';

/** What was tried, and which of it the run takes; -1 for none. */
export interface TrialOutcome {
  readonly tried: readonly TriedStrategy[];
  readonly fastest: number;
}

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
  const ways = close.map(({ label, predicted }, index) => [
    { name: label, predictedSeconds: predicted.seconds, measured: measured[index] ?? [] },
  ]);
  const { seconds, fastest } = judgeWays(ways, modelError(first.predicted));
  const tried = close.map(({ label, predicted }, index) => ({
    label,
    predictedStepSeconds: predicted.seconds,
    measured: measured[index] ?? [],
    likelySeconds: seconds[index] ?? Infinity,
  }));
  return { tried, fastest };
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
