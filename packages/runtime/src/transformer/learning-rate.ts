/** Learning rate over the steps: linear warm-up, then half a cosine down to a floor. */

export interface LearningRateSchedule {
  readonly peak: number;
  /** Reached at the last step and kept after it. */
  readonly floor: number;
  readonly warmupSteps: number;
  readonly totalSteps: number;
}

/**
 * Rate of step `step`, counted from 0. The first step already moves (peak / warmupSteps); step warmupSteps - 1 has the
 * peak.
 */
export function learningRateAt({ peak, floor, warmupSteps, totalSteps }: LearningRateSchedule, step: number): number {
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  const span = totalSteps - 1 - Math.max(0, warmupSteps - 1);
  const done = span <= 0 ? 1 : Math.min(1, (step - Math.max(0, warmupSteps - 1)) / span);
  return floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * done));
}
