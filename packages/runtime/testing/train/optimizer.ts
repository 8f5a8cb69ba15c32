/** Short runs for tests. */
import type { OptimizerPlan } from '#runtime/train/job.js';

/** The main job's optimizer with another peak and warm-up. */
export const testOptimizer = (learningRate: number, warmup: number): OptimizerPlan => ({
  learningRate,
  minimumLearningRate: learningRate / 10,
  warmup,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clip: 1,
});
