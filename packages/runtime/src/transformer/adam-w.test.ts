import { describe, expect, it } from 'vitest';
import { adamWStep } from './adam-w.js';
import { clippingFactor, sumOfSquares } from './gradient-norm.js';
import { learningRateAt } from './learning-rate.js';
import { randomArray, relativeError, seededRandom } from '../../testing/numbers.js';

const settings = { learningRate: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };

const state = (decay: boolean) => ({
  parameter: Float32Array.of(1),
  gradient: Float32Array.of(0),
  firstMoment: Float32Array.of(0),
  secondMoment: Float32Array.of(0),
  decay,
});

describe('adamWStep', () => {
  it('follows the algorithm as published, over several steps and arrays', () => {
    const random = seededRandom(1);
    const states = [4, 9].map((length) => ({
      parameter: randomArray(length, random),
      gradient: new Float32Array(length),
      firstMoment: new Float32Array(length),
      secondMoment: new Float32Array(length),
    }));
    const start = states.map(({ parameter }) => Float64Array.from(parameter));
    const history: Float32Array[][] = [];
    for (let step = 1; step <= 5; step++) {
      for (const state of states) state.gradient.set(randomArray(state.gradient.length, random));
      history.push(states.map(({ gradient }) => gradient.slice()));
      adamWStep(states, settings, step, 0.5);
    }
    // moments as explicit sums over the history instead of recurrences
    const expected = start.map((values, a) =>
      values.map((value, i) => {
        let parameter = value;
        for (let t = 1; t <= 5; t++) {
          let m = 0;
          let v = 0;
          for (let s = 1; s <= t; s++) {
            const g = 0.5 * history[s - 1][a][i];
            m += 0.1 * 0.9 ** (t - s) * g;
            v += 0.05 * 0.95 ** (t - s) * g * g;
          }
          parameter -= 3e-3 * 0.1 * parameter;
          parameter -= (3e-3 * (m / (1 - 0.9 ** t))) / (Math.sqrt(v / (1 - 0.95 ** t)) + 1e-8);
        }
        return parameter;
      }),
    );
    states.forEach(({ parameter }, a) => {
      expect(relativeError(parameter, expected[a])).toBeLessThan(1e-6);
    });
  });

  it('decays only what is to be decayed', () => {
    const states = [state(true), state(false)];
    adamWStep(states, settings, 1);
    expect(states[0].parameter[0]).toBeCloseTo(1 - 3e-4, 7);
    expect(states[1].parameter[0]).toBe(1);
  });
});

describe('learningRateAt', () => {
  const schedule = { peak: 2, floor: 0.2, warmupSteps: 4, totalSteps: 11 };

  it('rises evenly to the peak, falls along half a cosine to the floor, and stays there', () => {
    const rates = Array.from({ length: 14 }, (_, step) => learningRateAt(schedule, step));
    expect(rates.slice(0, 4)).toEqual([0.5, 1, 1.5, 2]);
    for (let step = 4; step < 11; step++) expect(rates[step]).toBeLessThan(rates[step - 1]);
    expect(rates[10]).toBeCloseTo(0.2, 12);
    expect(rates[13]).toBeCloseTo(0.2, 12);
    // symmetric about the middle of the fall: steps 3 and 10
    for (let i = 0; i <= 7; i++) expect(rates[3 + i] + rates[10 - i]).toBeCloseTo(2.2, 12);
  });

  it('works without warm-up and with a single step', () => {
    expect(learningRateAt({ peak: 1, floor: 0, warmupSteps: 0, totalSteps: 3 }, 0)).toBe(1);
    expect(learningRateAt({ peak: 1, floor: 0, warmupSteps: 0, totalSteps: 3 }, 1)).toBeCloseTo(0.5, 12);
    expect(learningRateAt({ peak: 1, floor: 0.1, warmupSteps: 1, totalSteps: 1 }, 0)).toBe(1);
    expect(Number.isFinite(learningRateAt({ peak: 1, floor: 0.1, warmupSteps: 0, totalSteps: 1 }, 0))).toBe(true);
  });
});

describe('clipping', () => {
  it('scales a long gradient to the bound and leaves a short one', () => {
    const norm = Math.sqrt(sumOfSquares([Float32Array.of(3, 0), Float32Array.of(4)]));
    expect(norm).toBe(5);
    expect(clippingFactor(norm, 1) * norm).toBeCloseTo(1, 5);
    expect(clippingFactor(0.5, 1)).toBe(1);
    expect(clippingFactor(Infinity, 1)).toBeNaN();
  });
});
