/** Which strategies are run to time all kernels that any of many has. */
import { inChunks, type Halves, type Strategy } from './dispatchers/strategies.js';
import { priceKey } from './kernels.js';
import type { StepShape } from './step-shape.js';
import { trainingStep } from './step.js';

/** What the kernels of a step's program are priced by. */
const priceKeys = (step: StepShape): string[] =>
  Object.values(trainingStep(step).templates).flatMap(({ operations }) =>
    operations.flatMap(({ body, uses }) => (body.kind === 'kernel' ? [priceKey(body.name, uses)] : [])),
  );

/**
 * Of pairs of halves those, in their order and in one piece, whose steps together have every kernel that any pair's has
 * in any of the chunk counts: timing these times them all.
 */
export function strategiesToTime(
  step: StepShape,
  pairs: readonly Halves[],
  chunkCounts: readonly number[],
): Strategy[] {
  const seen = new Set<string>();
  return pairs.flatMap((halves) => {
    const before = seen.size;
    for (const chunks of chunkCounts)
      for (const key of priceKeys({ ...step, strategy: inChunks(halves, chunks) })) seen.add(key);
    return seen.size > before ? [inChunks(halves, 1)] : [];
  });
}
