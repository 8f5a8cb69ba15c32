/**
 * Trains with the chosen strategy, then as many steps with what it is compared to, on the same data from the same
 * weights.
 */
import { mkdirSync } from 'node:fs';
import type { PlannedStrategy, RunPlan } from '@monta/core';
import { train, type Launcher, type TrainJob, type TrainReport, type TrainResult } from '@monta/runtime';
import { stepOf, type Setting } from './setting.js';

export interface StrategyResult {
  readonly planned: PlannedStrategy;
  readonly result: TrainResult;
}

export interface RunProgress {
  /** A strategy's job is about to start. */
  starting(planned: PlannedStrategy): void;
  /** What is worth knowing about where a job begins. */
  notes(notes: readonly string[]): void;
  report(planned: PlannedStrategy, report: TrainReport): void;
  finished(planned: PlannedStrategy, result: TrainResult): void;
}

/** Micro-batches per replica of one held-out evaluation. */
const evaluationBatches = 4;
/** Evaluations in the course of a run. */
const evaluations = 6;

/** Steps that are traced: a few in the middle, when everything is warm. */
export const tracedSteps = (steps: number): number[] => [
  ...new Set([0.4, 0.5, 0.6].map((share) => Math.max(1, Math.round(steps * share)))),
];

export function jobOf(
  setting: Setting,
  planned: Pick<PlannedStrategy, 'strategy' | 'role'>,
  checkpointFolder?: string,
  resume?: string,
): TrainJob {
  const { config } = setting;
  const { optimizer, steps, seed, data, checkpoint } = config;
  const every = Math.max(1, Math.round(steps / evaluations));
  if (checkpointFolder !== undefined) mkdirSync(checkpointFolder, { recursive: true });
  return {
    step: stepOf(setting, planned.strategy),
    steps,
    seed,
    text: data.text,
    optimizer: {
      learningRate: optimizer.lr,
      minimumLearningRate: optimizer.minLr,
      warmup: optimizer.warmup,
      beta1: optimizer.betas[0],
      beta2: optimizer.betas[1],
      epsilon: 1e-8,
      weightDecay: optimizer.weightDecay,
      clip: optimizer.clip,
    },
    evaluateEvery: planned.role === 'chosen' ? every : 0,
    evaluationBatches,
    badSteps: config.badSteps,
    tracedSteps: tracedSteps(steps),
    ...(checkpointFolder === undefined ? {} : { checkpoint: { folder: checkpointFolder, ...checkpoint } }),
    ...(resume === undefined ? {} : { resume }),
  };
}

/** Runs all strategies of a plan, the chosen one first. */
export async function runStrategies({
  setting,
  launcher,
  plan,
  start,
  progress,
  signal,
}: {
  readonly setting: Setting;
  readonly launcher: Launcher;
  readonly plan: RunPlan;
  readonly start: { readonly checkpoints: string; readonly resume?: string };
  readonly progress: RunProgress;
  readonly signal: AbortSignal;
}): Promise<StrategyResult[]> {
  const results: StrategyResult[] = [];
  for (const planned of [plan.chosen, ...plan.compared]) {
    progress.starting(planned);
    const result = await train({
      job:
        planned.role === 'chosen' ? jobOf(setting, planned, start.checkpoints, start.resume) : jobOf(setting, planned),
      launcher,
      fabric: setting.fabric,
      signal,
      onStart: ({ notes }) => progress.notes(notes),
      onReport: (report) => progress.report(planned, report),
    });
    progress.finished(planned, result);
    results.push({ planned, result });
  }
  return results;
}
