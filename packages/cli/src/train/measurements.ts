/** From what a job reported to the figures that a person is shown. */
import { wayOfStep, type TimedStep } from '@monta/core';
import type { RunResult } from './strategies-run.js';

/** First steps touch memory for the first time and compile code; they are left out of times. */
const warmUpSteps = (steps: number): number => Math.min(10, Math.floor(steps / 4));

/** How many steps a way took. */
export function stepsOfWay({ turns, result }: RunResult, way: number): number {
  const others = result.turnSteps.filter(({ step }) => wayOfStep(turns, step) !== 0);
  return way === 0
    ? result.done.steps - others.length
    : others.filter(({ step }) => wayOfStep(turns, step) === way).length;
}

/** Times of a way's steps, seconds: after warm-up, where it has any there; of a long run, of those that it kept. */
export function stepTimes({ turns, result }: RunResult, way: number): number[] {
  const { steps, done, turnSteps } = result;
  const from = (steps[0]?.step ?? 0) + warmUpSteps(done.steps);
  const all: readonly TimedStep[] = way === 0 ? steps : turnSteps;
  const own = all.filter(({ step }) => wayOfStep(turns, step) === way);
  const warm = own.filter(({ step }) => step >= from);
  return (warm.length === 0 ? own : warm).map(({ seconds }) => seconds);
}
