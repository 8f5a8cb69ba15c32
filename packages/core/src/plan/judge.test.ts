import { describe, expect, it } from 'vitest';
import { median } from '../units/quantiles.js';
import { Random } from '../units/random.js';
import { likelySeconds, type Trial } from './judge.js';
import { minOf } from '../units/index.js';

const fastest = (values: readonly number[]): number => values.indexOf(minOf(values));

describe('likelySeconds', () => {
  it('is the median where runs agree, the prediction where it is certain', () => {
    const trials: Trial[] = [
      { predictedSeconds: 3, measured: [1, 1, 1] },
      { predictedSeconds: 1, measured: [2, 2, 2] },
    ];
    likelySeconds(trials, 0.1).forEach((seconds, index) => expect(seconds).toBeCloseTo(index + 1, 12));
    const noisy = trials.map(({ predictedSeconds }) => ({ predictedSeconds, measured: [1, 2, 3, 4, 5] }));
    const [first = 0, second = 0] = likelySeconds(noisy, 1e-9);
    expect(first / second).toBeCloseTo(3, 6);
    likelySeconds(noisy, Infinity).forEach((seconds) => expect(seconds).toBeCloseTo(3, 12));
  });

  it('does not mind a model that is wrong by one factor', () => {
    const trials: Trial[] = [
      { predictedSeconds: 1, measured: [2.1, 2.6, 2.2, 1.9] },
      { predictedSeconds: 1.2, measured: [2.4, 1.9, 2.5, 3] },
    ];
    const double = trials.map((one) => ({ ...one, predictedSeconds: 2 * one.predictedSeconds }));
    const alike = likelySeconds(double, 0.1);
    likelySeconds(trials, 0.1).forEach((seconds, index) => expect(seconds).toBeCloseTo(alike[index] ?? 0, 12));
  });

  it('loses less, on average, than medians or predictions alone', () => {
    const random = new Random(7);
    const [ways, runs, spread, modelError] = [6, 9, 0.25, 0.08];
    const lost = { both: 0, measured: 0, predicted: 0 };
    for (let draw = 0; draw < 2000; draw++) {
      const bias = Math.exp(0.2 * random.normal());
      const truth = Array.from({ length: ways }, () => Math.exp(0.08 * random.normal()));
      const trials = truth.map((seconds): Trial => ({
        predictedSeconds: bias * seconds * Math.exp(modelError * random.normal()),
        measured: Array.from({ length: runs }, () => seconds * Math.exp(spread * random.normal())),
      }));
      const loss = (choice: number): number => (truth[choice] ?? Infinity) / minOf(truth) - 1;
      lost.both += loss(fastest(likelySeconds(trials, modelError)));
      lost.measured += loss(fastest(trials.map(({ measured }) => median(measured))));
      lost.predicted += loss(fastest(trials.map(({ predictedSeconds }) => predictedSeconds)));
    }
    expect(lost.both).toBeLessThan(0.9 * lost.measured);
    expect(lost.both).toBeLessThan(0.9 * lost.predicted);
  });
});
