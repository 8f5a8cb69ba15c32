/**
 * Dispatch alone on real ranks: the closed form holds for every strategy and layout, and traces cover every operation.
 */
import { dispatchProgram, unsupportedStrategy, type Layout, type MoeShape, type Strategy } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { measureDispatch, type DispatchJob } from './measure-dispatch.js';
import { dispatchJob, dispatchShape as shapeOf } from '../../testing/execute/dispatch-jobs.js';
import { samplePicks } from './sample-picks.js';

const layouts: readonly Layout[] = [
  { tp: 2, cp: 1, dp: 2, pp: 1, etp: 2, ep: 2, edp: 1, sequenceParallel: false },
  { tp: 2, cp: 1, dp: 2, pp: 1, etp: 2, ep: 1, edp: 2, sequenceParallel: true },
  { tp: 4, cp: 1, dp: 1, pp: 1, etp: 2, ep: 2, edp: 1, sequenceParallel: true },
  { tp: 2, cp: 1, dp: 2, pp: 1, etp: 1, ep: 4, edp: 1, sequenceParallel: false },
];

const strategies: readonly Strategy[] = (['sliced', 'duplicated'] as const).flatMap((dispatch) =>
  (['sliced', 'duplicated', 'scattered'] as const).map((combine, i) => ({
    dispatch,
    combine,
    chunks: { forward: 1 + i, backward: 3 - i },
  })),
);

const jobOf = (shape: MoeShape, strategy: Strategy): DispatchJob => ({
  ...dispatchJob(shape, strategy),
  repetitions: 2,
  trace: true,
});

describe('dispatch alone', () => {
  it('gives etp times the weighted rows in every layout and strategy, also with dropped picks', async () => {
    const jobs = layouts.flatMap((layout) =>
      strategies
        .filter((strategy) => unsupportedStrategy(strategy, { layout }) === undefined)
        .flatMap((strategy) => [
          jobOf(shapeOf(layout), strategy),
          jobOf(shapeOf(layout, { capacityFactor: 0.5, tokens: 3 }), strategy),
        ]),
    );
    const measured = await measureDispatch({ jobs });
    expect(measured).toHaveLength(jobs.length);
    expect(measured.filter(({ error }) => !(error < 1e-6)).map(({ job, error }) => ({ job, error }))).toEqual([]);
    for (const { job, seconds, spans } of measured) {
      expect(seconds).toHaveLength(2);
      expect(seconds.every((s) => s > 0)).toBe(true);
      const program = dispatchProgram(job.shape, job.strategy, job.passes);
      const operations = program.nodes.reduce((n, node) => n + program.templates[node.template].operations.length, 0);
      expect(spans).toHaveLength(2 * 4 * operations);
      expect(spans.every(({ issued, ready, end }) => issued <= ready && ready <= end)).toBe(true);
    }
  });

  it('sampled picks that capacity drops carry no weight, the others do', () => {
    const { ids, weights } = samplePicks(shapeOf(layouts[0], { capacityFactor: 0.5 }), { kind: 'uniform' }, 1, 0);
    const dropped = ids.filter((id) => id < 0).length;
    expect(dropped).toBeGreaterThan(0);
    ids.forEach((id, pick) => expect(weights[pick] > 0).toBe(id >= 0));
  });
});
