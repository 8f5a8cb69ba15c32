/** From what a run measured to the figures of each of its ways. */
import type { TimedStep, Turns } from '@monta/core';
import { wayOfStep } from '@monta/core/schedule';

/** Steps of a run: how many there were, of a long run those that were kept, and every one that was taken by turns. */
export interface RunSteps {
  /** Absent where one strategy ran alone. */
  readonly turns?: Turns;
  readonly result: {
    readonly done: { readonly steps: number };
    readonly steps: readonly TimedStep[];
    readonly turnSteps: readonly TimedStep[];
  };
}

/** First steps touch memory for the first time and compile code; they are left out of times. */
const warmUpSteps = (steps: number): number => Math.min(10, Math.floor(steps / 4));

/** How many steps a way took. */
export function stepsOfWay({ turns, result }: RunSteps, way: number): number {
  const others = result.turnSteps.filter(({ step }) => wayOfStep(turns, step) !== 0);
  return way === 0
    ? result.done.steps - others.length
    : others.filter(({ step }) => wayOfStep(turns, step) === way).length;
}

/** Times of a way's steps, seconds: after warm-up, where it has any there; of a long run, of those that it kept. */
export function stepTimes({ turns, result }: RunSteps, way: number): number[] {
  const { steps, done, turnSteps } = result;
  const from = (steps[0]?.step ?? 0) + warmUpSteps(done.steps);
  const own = (way === 0 ? steps : turnSteps).filter(({ step }) => wayOfStep(turns, step) === way);
  const warm = own.filter(({ step }) => step >= from);
  return (warm.length === 0 ? own : warm).map(({ seconds }) => seconds);
}
