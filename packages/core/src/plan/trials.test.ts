import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeWays, likelySeconds, trialSize, type TriedPart } from './index.js';
import { minOf } from '../units/index.js';

describe('the size of a trial', () => {
  const none = { strategies: 0, steps: 0 };
  const size = (steps: number, close: number, trialSteps?: number) => trialSize({ ranks: 8, steps, trialSteps }, close);

  it('is no more than a fifth of the run, and nothing where it would say nothing', () => {
    for (const run of [40, 90, 150, 1000, 100_000])
      for (const close of [2, 3, 4]) {
        const { strategies, steps } = size(run, close);
        expect(steps * strategies).toBeLessThanOrEqual(run / 5);
        expect(steps === 0 ? strategies === 0 : steps >= 4 && steps <= 12 && strategies >= 2).toBe(true);
      }
    expect(size(100_000, 4)).toEqual({ strategies: 4, steps: 12 });
    expect(size(20, 2)).toEqual(none);
    expect(size(1000, 1)).toEqual(none);
    expect(trialSize({ ranks: 1, steps: 1000 }, 4)).toEqual(none);
  });

  it('is what a person asks for', () => {
    expect(size(5, 2, 3)).toEqual({ strategies: 2, steps: 3 });
    expect(size(1000, 4, 0)).toEqual(none);
  });
});

describe('judging ways', () => {
  const partArbitrary = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    predictedSeconds: fc.double({ min: 0.1, max: 10, noNaN: true }),
    measured: fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 1, maxLength: 5 }),
  });

  it('takes the least sum of what is likely of the parts', () => {
    const ways = fc.array(fc.array(partArbitrary, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(ways, (drawn) => {
        // one name, one trial: the first that was drawn
        const first = new Map<string, TriedPart>();
        for (const part of drawn.flat()) if (!first.has(part.name)) first.set(part.name, part);
        const given = drawn
          .map((way) => way.map(({ name }) => first.get(name) ?? way[0]))
          .map((way) => way.flatMap((part) => part ?? []));
        const trials = [...first.values()];
        const likely = likelySeconds(trials, 0.1);
        const sums = given.map((way) =>
          way.reduce((sum, { name }) => sum + (likely[trials.findIndex((t) => t.name === name)] ?? NaN), 0),
        );
        const { seconds, fastest } = judgeWays(given, 0.1);
        seconds.forEach((one, place) => expect(one).toBeCloseTo(sums[place] ?? NaN, 9));
        expect(fastest).toBe(seconds.indexOf(minOf(seconds)));
      }),
      { seed: 31, numRuns: 100 },
    );
  });

  it('judges runs that agree by their median, whatever was predicted', () => {
    const way = (name: string, predictedSeconds: number, seconds: number): TriedPart[] => [
      { name, predictedSeconds, measured: [seconds, seconds, seconds] },
    ];
    expect(judgeWays([way('x', 1, 3), way('y', 2, 2)], 0.1).fastest).toBe(1);
  });

  it('finds none among none', () => {
    expect(judgeWays([], 0.1)).toEqual({ seconds: [], fastest: -1 });
  });
});
