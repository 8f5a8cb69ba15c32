/** From what a job reported to the figures that a person is shown. */
import type { TrainResult } from '@monta/runtime';

/** First steps touch memory for the first time and compile code; they are left out of times. */
export const warmUpSteps = (steps: number): number => Math.min(10, Math.floor(steps / 4));

/** Times of the steps after warm-up, seconds; of a long run, of those that it kept. */
export function stepTimes({ steps, done }: TrainResult): number[] {
  const from = (steps[0]?.step ?? 0) + warmUpSteps(done.steps);
  return steps.flatMap(({ step, seconds }) => (step < from ? [] : [seconds]));
}
