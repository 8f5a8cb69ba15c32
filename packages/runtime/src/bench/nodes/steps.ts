/** A training step of some layers of a large model, in the plan's way and in others, in turns on the same ranks. */
import type { StepShape, Strategy } from '@monta/core';
import { median } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { strategyLabel } from '@monta/core/schedule';
import type { Launcher } from '../../launch/index.js';

export interface StepsJob {
  /** Its strategy does not matter. */
  readonly step: StepShape;
  readonly ways: readonly { readonly strategy: Strategy }[];
  readonly turns: number;
  /** Timed steps of a way in a turn; one that is not timed comes before them. */
  readonly steps: number;
  /** No way begins another turn after so many, weights and all. */
  readonly seconds: number;
}

/** What a rank tells of a turn of a way: its timed steps. */
export interface RankSteps {
  readonly way: number;
  readonly seconds: readonly number[];
  readonly losses: readonly number[];
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

/** Trains; what is there is told after every turn of a way. A way of which no step was timed is left out. */
export async function measureSteps(
  launcher: Launcher,
  job: StepsJob,
  onFigures: (figures: Omit<StepFigures, 'plannedBytes'>) => void,
): Promise<void> {
  const { step, ways } = job;
  const told = ways.map((): RankSteps[] => []);
  let peakBytes = 0;
  await launcher.launch({
    ranks: worldSize(step.layout),
    memoryBytes: 64 * 2 ** 20,
    maximumMemoryBytes: 2 ** 30,
    workerModule: new URL('./step.worker.ts', import.meta.url),
    workerData: job,
    trace: false,
    onMessage: (rank, message) => {
      const one = message as RankSteps;
      peakBytes = Math.max(peakBytes, one.peakBytes);
      if (rank !== 0) return;
      told[one.way].push(one);
      onFigures({
        layers: step.model.layers,
        tokens: step.sequence * step.sequences * step.layout.dp,
        ways: ways.flatMap(({ strategy }, way) => figureOf(strategy, told[way])),
        peakBytes,
      });
    },
  });
}

function figureOf(strategy: Strategy, turns: readonly RankSteps[]): StepFigure[] {
  if (turns.length === 0) return [];
  const seconds = turns.flatMap((one) => one.seconds);
  return [
    {
      label: strategyLabel(strategy),
      seconds,
      medianSeconds: median(seconds),
      losses: turns.flatMap(({ losses }) => losses),
    },
  ];
}
