import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { Random } from '../units/index.js';
import { roundSeconds, compareTurns, lastTurn, turnsOf, wayOfStep, type Turns } from './turns.js';

const mainJob = turnsOf(3, 150);
if (mainJob === undefined) throw new Error('150 steps have room for turns');

/** Steps `from` to `to` of a run whose way `w` takes `seconds[w]`. */
const steps = (turns: Turns, seconds: readonly number[], from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => ({
    step: from + index,
    seconds: seconds[wayOfStep(turns, from + index)] ?? NaN,
  }));

describe('turns', () => {
  it('give every way as many steps, one after another, and the rest to the run itself', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 4 }), fc.integer({ min: 1, max: 400 }), (ways, count) => {
        const turns = turnsOf(ways, count);
        if (turns === undefined) return;
        expect(lastTurn(turns)).toBeLessThanOrEqual(count);
        const all = Array.from({ length: count }, (_, index) => wayOfStep(turns, index + 1));
        const within = all.slice(turns.warmUps, lastTurn(turns));
        for (let way = 0; way < ways; way++) expect(within.filter((one) => one === way)).toHaveLength(turns.rounds);
        expect([...all.slice(0, turns.warmUps), ...all.slice(lastTurn(turns))].every((way) => way === 0)).toBe(true);
        within.forEach((way, index) => expect(way).not.toBe(within[index + 1]));
      }),
    );
  });

  it('end in a long run, and are none in one too short for two rounds', () => {
    expect(turnsOf(3, 1_000_000)).toEqual(mainJob);
    expect(turnsOf(3, 5)).toBeUndefined();
    expect(turnsOf(1, 150)).toBeUndefined();
  });
});

describe('rounds', () => {
  it('count after each way was run once', () => {
    const rounds = roundSeconds(mainJob, steps(mainJob, [1, 2, 3], 1, 150));
    expect(rounds.map((one) => [...new Set(one)])).toEqual([[1], [2], [3]]);
    expect(rounds[0]).toHaveLength(mainJob.rounds - 1);
  });

  it('of a resumed run leave out its own first steps and the round that it begins in', () => {
    for (const from of [2, 20, 40, 60]) {
      const resumed = roundSeconds(mainJob, steps(mainJob, [1, 2, 3], from, 150))[0]?.length ?? 0;
      const left = lastTurn(mainJob) - (from - 1) - mainJob.warmUps - mainJob.ways;
      expect(resumed).toBe(Math.max(0, Math.floor(left / mainJob.ways)));
    }
    expect(roundSeconds(mainJob, steps(mainJob, [1, 2, 3], 149, 150))).toEqual([[], [], []]);
  });
});

describe('a comparison', () => {
  it('calls a difference only where it stands out of the noise', () => {
    const verdictOf = (factor: number, noise: number, seed: number) => {
      const random = new Random(seed, 3);
      const noisy = (mean: number) => Array.from({ length: 18 }, () => mean * Math.exp(noise * random.normal()));
      return compareTurns([noisy(1), noisy(factor)], 1)?.verdict;
    };
    expect(verdictOf(1.7, 0.05, 1)).toBe('faster');
    expect(verdictOf(0.6, 0.05, 1)).toBe('slower');
    const called = Array.from({ length: 100 }, (_, seed) => verdictOf(1, 0.05, seed)).filter(
      (verdict) => verdict !== 'too close to call',
    );
    expect(called.length).toBeLessThan(8);
  });

  it('is not made of a few rounds', () => {
    expect(
      compareTurns(
        [
          [1, 1, 1, 1, 1],
          [2, 2, 2, 2, 2],
        ],
        1,
      ),
    ).toBeUndefined();
  });
});
