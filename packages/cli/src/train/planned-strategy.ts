/** What a run will run, and why. */
import type { Choice, CostModel, StepPrediction, Strategy } from '@monta/core';

/** One way that was tried. */
export interface TriedStrategy {
  readonly label: string;
  readonly predictedStepSeconds: number;
  /** Seconds of each step. */
  readonly measured: readonly number[];
  /** What both together say. */
  readonly likelySeconds: number;
}

/** One strategy that will run, and what it should take. */
export interface PlannedStrategy {
  /** As `scattered, 4 / 2 chunks`. */
  readonly label: string;
  readonly role: 'chosen' | 'baseline' | 'fixed';
  readonly strategy: Strategy;
  readonly predicted: StepPrediction;
}

export interface RunPlan {
  readonly chosen: PlannedStrategy;
  /** What the choice is compared to: `duplicated`, and the best fixed strategy when it is another one. */
  readonly compared: readonly PlannedStrategy[];
  readonly choice?: Choice;
  /** What was tried before choosing; empty where predictions alone chose. */
  readonly tried: readonly TriedStrategy[];
  readonly reasons: readonly (readonly [label: string, text: string])[];
  readonly model: CostModel;
}
