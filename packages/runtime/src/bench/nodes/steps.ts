/** A training step of some layers of a large model, in the plan's way and in others, in turns on the same ranks. */
import { maxOf, median, strategyLabel, worldSize, type StepShape, type Strategy } from '@monta/core';
import type { Launcher } from '../../launch/index.js';

export interface StepsJob {
  /** Its strategy does not matter. */
  readonly step: StepShape;
  readonly ways: readonly { readonly strategy: Strategy }[];
  readonly turns: number;
  /** Timed steps of a way in a turn; one that is not timed comes before them. */
  readonly steps: number;
}

/** What a rank tells, by way and timed step. */
export interface RankSteps {
  readonly seconds: readonly (readonly number[])[];
  readonly losses: readonly (readonly number[])[];
  readonly peakBytes: number;
}

export interface StepFigure {
  readonly label: string;
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
  readonly losses: readonly number[];
}

export interface StepFigures {
  readonly layers: number;
  readonly tokens: number;
  readonly ways: readonly StepFigure[];
  /** The most that a rank took of its card, and what was planned. */
  readonly peakBytes: number;
  readonly plannedBytes: number;
}

export async function measureSteps(launcher: Launcher, job: StepsJob): Promise<Omit<StepFigures, 'plannedBytes'>> {
  const results = (await launcher.launch({
    ranks: worldSize(job.step.layout),
    memoryBytes: 64 * 2 ** 20,
    maximumMemoryBytes: 2 ** 30,
    workerModule: new URL('./step.worker.ts', import.meta.url),
    workerData: job,
    trace: false,
  })) as RankSteps[];
  const [first] = results;
  const { step, ways } = job;
  return {
    layers: step.model.layers,
    tokens: step.sequence * step.sequences * step.layout.dp,
    ways: ways.map(({ strategy }, way) => ({
      label: strategyLabel(strategy),
      seconds: first.seconds[way],
      medianSeconds: median(first.seconds[way]),
      losses: first.losses[way],
    })),
    peakBytes: maxOf(results.map(({ peakBytes }) => peakBytes)),
  };
}
