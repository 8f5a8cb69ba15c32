/**
 * Training steps before the run, of what the model cannot tell apart. Dispatchers give the same numbers, so nothing but
 * time depends on it.
 */
import type { OpenPlan } from '@monta/core';
import { trialRounds } from '@monta/core/plan';
import type { Launcher } from '@monta/runtime';
import { tryStrategies } from '@monta/runtime/train';
import type { Setting } from './setting.js';
import { jobOf } from './strategies-run.js';

/** Where training steps can be tried, and from what weights. */
export interface TrialGround {
  readonly launcher: Launcher;
  readonly resume?: string;
  readonly signal: AbortSignal;
  readonly onTrial: (labels: readonly string[], steps: number) => void;
}

/** Runs the training steps that a plan leaves open, as many in every turn; seconds of each, in the plan's order. */
export async function tryClose(
  setting: Setting,
  { close, trialSteps }: OpenPlan,
  { launcher, resume, onTrial, signal }: TrialGround,
): Promise<number[][]> {
  const [first] = close;
  if (first === undefined) return [];
  const rounds = Math.min(trialRounds.turns, trialSteps);
  const stepsOfTurn = Math.ceil(trialSteps / rounds);
  onTrial(
    close.map(({ label }) => label),
    rounds * stepsOfTurn,
  );
  return await tryStrategies({
    trial: {
      job: jobOf(setting, first.strategy, resume === undefined ? {} : { resume }),
      ways: close.map(({ strategy, overlap }) => ({ strategy, overlap })),
      warmUps: trialRounds.warmUps,
      turns: rounds,
      steps: stepsOfTurn,
    },
    launcher,
    ...(setting.fabric === undefined ? {} : { fabric: setting.fabric }),
    signal,
  });
}
