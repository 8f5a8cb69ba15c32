/** How loaded each expert was in the course of a run. */
import type { RunReport } from './run-report.js';

/** Share of all picks per expert in one step. */
export interface StepLoad {
  /** Number of the step, from 1. */
  readonly step: number;
  readonly expertShares: readonly number[];
}

const mostSpans = 12;

/**
 * Loads relative to balance, averaged over at most twelve spans of so many steps from the first one given; of a long
 * run, over those that it kept.
 */
export function expertLoad(steps: readonly StepLoad[], count: number): RunReport['expertLoad'] {
  const [first] = steps;
  const experts = first?.expertShares.length ?? 0;
  const spans = Math.min(mostSpans, count);
  if (first === undefined || experts === 0 || spans === 0) return [];
  const stepEdges = Array.from({ length: spans + 1 }, (_, i) => Math.round((i * count) / spans));
  const parts = stepEdges.slice(1).map((end, span) =>
    steps.filter(({ step }) => {
      const index = step - first.step;
      return index >= stepEdges[span] && index < end;
    }),
  );
  const mean = (expert: number, part: readonly StepLoad[]): number =>
    (experts * part.reduce((sum, step) => sum + (step.expertShares[expert] ?? 0), 0)) / part.length;
  const rows = Array.from({ length: experts }, (_, expert) => parts.map((part) => mean(expert, part)));
  return [{ layer: 'all', stepEdges, experts: rows }];
}
