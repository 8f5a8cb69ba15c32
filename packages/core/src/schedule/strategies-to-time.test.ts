import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { inChunks, priceKey, sameSums, trainingStep, unsupportedStrategy, type StepShape } from './index.js';
import { strategiesToTime } from './strategies-to-time.js';

describe('strategies that are timed before a run', () => {
  const layouts = [
    { tp: 4, dp: 2, ep: 2 },
    { tp: 2, dp: 2, ep: 4, etp: 1, sequenceParallel: true },
    { dp: 4, ep: 4 },
  ];
  it.each(layouts)('have every kernel that any pair has, and each adds one: %j', (partial) => {
    const step: StepShape = {
      model: getModel('tiny-bytes'),
      layout: { ...resolveLayout(partial), ranksPerNode: 4 },
      sequence: 32,
      sequences: 2,
      microBatches: 1,
      dtype: 'f32',
      strategy: inChunks({ dispatch: 'sliced', combine: 'scattered' }, 1),
    };
    const keysOf = (halves: Pick<StepShape['strategy'], 'dispatch' | 'combine'>, chunks: number): string[] =>
      Object.values(trainingStep({ ...step, strategy: inChunks(halves, chunks) }).templates).flatMap((template) =>
        template.operations.flatMap(({ body, uses }) => (body.kind === 'kernel' ? [priceKey(body.name, uses)] : [])),
      );
    const bothCounts = (halves: Pick<StepShape['strategy'], 'dispatch' | 'combine'>): string[] =>
      [1, 4].flatMap((chunks) => keysOf(halves, chunks));
    const pairs = sameSums().filter((halves) => unsupportedStrategy(halves, step) === undefined);
    const timed = strategiesToTime(step, pairs, [1, 4]);
    const all = new Set(pairs.flatMap(bothCounts));
    expect(new Set(timed.flatMap(bothCounts))).toEqual(all);
    // Those before it do not have all of what it has.
    timed.forEach((one, index) => {
      const before = new Set(timed.slice(0, index).flatMap(bothCounts));
      expect(bothCounts(one).some((key) => !before.has(key))).toBe(true);
    });
    expect(timed.length).toBeLessThan(pairs.length);
  });
});
