/**
 * Trains in one launch with the chosen strategy and, by turns, with what it is compared to: all compute the same, so a
 * block of steps in another way continues the same training.
 */
import { mkdirSync } from 'node:fs';
import type { Overlap, PlannedStrategy, RunPlan, Strategy, Turns } from '@monta/core';
import { lastTurn, turnsOf, wayOfStep } from '@monta/core/schedule';
import { settingStep } from '@monta/core/plan';
import type { Launcher, TrainJob, TrainReport, TrainResult } from '@monta/runtime';
import { train } from '@monta/runtime/train';
import type { Setting } from './setting.js';

export interface RunResult {
  /** The chosen strategy, then those that took turns with it. */
  readonly ways: readonly [PlannedStrategy, ...PlannedStrategy[]];
  /** Absent where one strategy ran alone. */
  readonly turns?: Turns;
  readonly result: TrainResult;
}

export interface RunProgress {
  /** What is worth knowing about where a job begins. */
  notes(notes: readonly string[]): void;
  report(planned: PlannedStrategy, report: TrainReport): void;
}

/** Micro-batches per replica of one held-out evaluation. */
const evaluationBatches = 4;
/** Evaluations in the course of a run. */
const evaluations = 3;

/** Where in the run steps are traced, when everything is warm. */
const tracedShares = [0.4, 0.5, 0.6];

/** Steps of a run that are traced: of every way a few in the middle of the steps that it takes part in. */
export function tracedSteps(steps: number, turns?: Turns): number[] {
  const ofWay = (way: number): number[] => {
    const last = way === 0 || turns === undefined ? steps : lastTurn(turns);
    return tracedShares.flatMap((share) => {
      for (let step = Math.max(1, Math.round(last * share)); step <= last; step++)
        if (wayOfStep(turns, step) === way) return [step];
      return [];
    });
  };
  return [...new Set(Array.from({ length: turns?.ways ?? 1 }, (_, way) => ofWay(way)).flat())].sort((a, b) => a - b);
}

type Way = Pick<PlannedStrategy, 'strategy' | 'overlap'>;

/** What of a job the configuration does not say. */
export interface JobSurroundings {
  /** Gets the checkpoints; made where it is missing. Absent: nothing is saved. */
  readonly checkpoints?: string;
  readonly resume?: string;
  /** What a layer overlaps; as the configuration says when left out. */
  readonly overlap?: Overlap;
  /** Ways that take turns with the job's own. */
  readonly others?: readonly Way[];
}

const wayOf = ({ strategy, overlap }: Way): Way => ({ strategy, overlap });

export function jobOf(
  setting: Setting,
  strategy: Strategy,
  { checkpoints, resume, overlap, others = [] }: JobSurroundings = {},
): TrainJob {
  const { config } = setting;
  const { optimizer, steps, seed, data, checkpoint } = config;
  const turns = turnsOf(1 + others.length, steps);
  if (checkpoints !== undefined) mkdirSync(checkpoints, { recursive: true });
  return {
    step: settingStep(setting, strategy, overlap),
    steps,
    ...(turns === undefined ? {} : { turns: { turns, others: others.map(wayOf) } }),
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
    evaluateEvery: Math.max(1, Math.round(steps / evaluations)),
    evaluationBatches,
    badSteps: config.badSteps,
    tracedSteps: tracedSteps(steps, turns),
    ...(checkpoints === undefined ? {} : { checkpoint: { folder: checkpoints, ...checkpoint } }),
    ...(resume === undefined ? {} : { resume }),
  };
}

/** Runs a plan: the chosen strategy, and by turns what it is compared to. */
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
}): Promise<RunResult> {
  const { strategy, overlap } = plan.chosen;
  const job = jobOf(setting, strategy, { ...start, overlap, others: plan.compared });
  const turns = job.turns?.turns;
  const ways = [plan.chosen, ...(turns === undefined ? [] : plan.compared)] as const;
  const result = await train({
    job,
    launcher,
    fabric: setting.fabric,
    signal,
    onStart: ({ notes }) => progress.notes(notes),
    onReport: (report) =>
      progress.report(ways[report.kind === 'step' ? wayOfStep(turns, report.step) : 0] ?? plan.chosen, report),
  });
  return { ways, ...(turns === undefined ? {} : { turns }), result };
}
