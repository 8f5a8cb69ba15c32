import { turnsOf, wayOfStep } from '@monta/core';
import { assert, integer, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stepsOfWay, stepTimes } from './ways.js';

const runs = record({ ways: integer({ min: 1, max: 4 }), steps: integer({ min: 1, max: 300 }) }).map(
  ({ ways, steps }) => {
    const turns = turnsOf(ways, steps);
    // A step's time names the way that it was done in.
    const all = Array.from({ length: steps }, (_, i) => ({ step: i + 1, seconds: wayOfStep(turns, i + 1) }));
    const turnSteps = turns === undefined ? [] : all;
    return {
      ways: turns?.ways ?? 1,
      steps,
      run: { ...(turns ? { turns } : {}), result: { done: { steps }, steps: all, turnSteps } },
    };
  },
);

describe('ways of a run', () => {
  it('have taken all its steps together', () => {
    assert(
      property(runs, ({ ways, steps, run }) => {
        const taken = Array.from({ length: ways }, (_, way) => stepsOfWay(run, way));
        expect(taken.reduce((sum, one) => sum + one, 0)).toBe(steps);
      }),
      { seed: 12 },
    );
  });

  it('are timed by their own steps, and by some wherever they have any', () => {
    assert(
      property(runs, ({ ways, run }) => {
        for (let way = 0; way < ways; way++) {
          const times = stepTimes(run, way);
          expect(times.length).toBeGreaterThan(0);
          expect(times.every((seconds) => seconds === way)).toBe(true);
        }
      }),
      { seed: 12 },
    );
  });
});
