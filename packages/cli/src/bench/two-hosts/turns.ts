/** Runs variants of cases on the ranks, in turns, and checks what they compute. */
import type { DispatchVariant } from '@monta/core';
import { halvesName } from '@monta/core/schedule';
import { layerPasses } from '@monta/core/plan';
import { measureInTurns, type DispatchMeasurement, type Launcher, type RepeatedJob } from '@monta/runtime';
import type { PreparedCase } from './prepared-case.js';

export const routings = { uniform: { kind: 'uniform' }, 'zipf:1': { kind: 'zipf', exponent: 1 } } as const;
export const seed = 1;
/** Row elements lie in [-1, 1): a sum of few float32 products. */
const largestError = 1e-5;
/** Each process compiles its code for itself, with the first case; memory is touched for the first time with each. */
const warmUps = { first: 4, others: 1 };
/** Runs at a time where there are many: each turn has its own preparations. */
const runsAtATime = 5;

export interface CaseTurns {
  readonly one: PreparedCase;
  readonly variants: readonly DispatchVariant[];
  readonly turns: number;
  /** Runs in each turn. */
  readonly repetitions: number;
}

/**
 * Turns that fill so many seconds, where all variants once take `roundSeconds`, within a fewest and a most of runs. One
 * turn where they are to fill none.
 */
export function turnsFor(
  seconds: number,
  roundSeconds: number,
  [fewest, most]: readonly [number, number],
): Pick<CaseTurns, 'turns' | 'repetitions'> {
  const runs = seconds === 0 ? 1 : Math.min(most, Math.max(fewest, seconds / roundSeconds));
  return { turns: Math.ceil(runs / runsAtATime), repetitions: runsAtATime };
}

/**
 * Runs all variants of all cases in one job, turn by turn, and returns their measurements by case and variant. Throws
 * when a result is not that of its closed form.
 */
export async function measureCases(launcher: Launcher, all: readonly CaseTurns[]): Promise<DispatchMeasurement[][][]> {
  const repeated = all.flatMap(({ one: { routing, workload }, variants, turns, repetitions }, index) =>
    variants.map(({ strategy }): RepeatedJob => ({
      job: {
        shape: workload.shape,
        strategy,
        passes: layerPasses,
        routing: routings[routing],
        seed,
        warmUps: index === 0 ? warmUps.first : warmUps.others,
        repetitions,
        trace: false,
      },
      turns,
    })),
  );
  const measured = await measureInTurns(repeated, { launcher });
  for (const { job, error } of measured.flat())
    if (!(error <= largestError)) throw new Error(`${halvesName(job.strategy)}: a result is off by ${error}`);
  let before = 0;
  return all.map(({ variants }) => measured.slice(before, (before += variants.length)));
}

/** Seconds of one pass, of all runs in all turns. */
export const passRuns = (turns: readonly DispatchMeasurement[], pass: (typeof layerPasses)[number]): number[] =>
  turns.flatMap(({ passSeconds }) => passSeconds[layerPasses.indexOf(pass)] ?? []);
