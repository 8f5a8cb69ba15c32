/** What is predicted that a rank holds beside what it holds, in real runs. */
import {
  compile,
  expectedRows,
  memoryTimeline,
  recomputeModules,
  trainingStep,
  type Recompute,
  type StepShape,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { casesOf, layoutOf, mixtral, olmoe, rankCase, run, strategyOf } from '../../testing/execute/rank-cases.js';

/** Bytes of regions at the highest point; the executor's owner places tokens. */
function predicted(step: StepShape, imbalance: number): number {
  const compiled = compile(trainingStep(step));
  const counts = ({ id }: { readonly id: string }): boolean => id !== 'tokens';
  return memoryTimeline(compiled, { rowsOf: expectedRows(imbalance), counts }).peak.bytes;
}

const ways: readonly Recompute[] = ['none', 'selective', 'full', ...recomputeModules.map((module) => [module])];
const strategies = [strategyOf('sliced', 'sliced', 2, 3), strategyOf('duplicated', 'scattered', 1, 2)];
const groups = [
  [1, [{ layout: layoutOf({}) }, { layout: layoutOf({}), model: olmoe, microBatches: 2 }]],
  [
    2,
    [
      { layout: layoutOf({ tp: 2, sequenceParallel: true }), model: mixtral },
      { layout: layoutOf({ dp: 2 }), sequence: 12 },
    ],
  ],
] as const;

describe.each(groups)('%i ranks', (ranks, shapes) => {
  it('hold what is predicted within 2 %', async () => {
    const cases = shapes.flatMap(({ layout, ...changes }) =>
      casesOf(layout, '', { sequence: 8, ...changes }, {}, strategies).flatMap((one) =>
        ways.map((recompute) => rankCase({ ...one, step: { ...one.step, recompute } })),
      ),
    );
    const results = await run(ranks, cases);
    expect(cases.length).toBeGreaterThanOrEqual(14);
    for (const [place, { step }] of cases.entries())
      expect(Math.abs(predicted(step, 1) / results[place].peakBytes - 1)).toBeLessThan(0.02);
  });
});
