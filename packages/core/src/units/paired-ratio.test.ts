import { expect, test } from 'vitest';
import { pairedDifference, pairedRatio } from './paired-ratio.js';
import { Random } from './random.js';

test('a drift of the machine that both of a pair see leaves the ratio alone', () => {
  const theirs = Array.from({ length: 20 }, (_, turn) => 1 + turn);
  const ratio = pairedRatio(
    theirs.map((seconds) => 1.1 * seconds),
    theirs,
  );
  for (const value of [ratio.median, ratio.low, ratio.high]) expect(value).toBeCloseTo(1.1, 12);
  expect(ratio.pairs).toBe(20);
});

test('the interval holds the true ratio in about 95 of 100 experiments', () => {
  const experiments = 200;
  let held = 0;
  for (let seed = 1; seed <= experiments; seed++) {
    const random = new Random(seed, 7);
    const noisy = (mean: number): number => mean * Math.exp(0.15 * random.normal());
    const theirs = Array.from({ length: 20 }, () => noisy(1));
    const ours = Array.from({ length: 20 }, () => noisy(1.05));
    const { low, high } = pairedRatio(ours, theirs, seed);
    if (low <= 1.05 && 1.05 <= high) held++;
  }
  expect(held / experiments).toBeGreaterThan(0.88);
  expect(held / experiments).toBeLessThan(0.995);
});

test('one pair says nothing of its own noise', () => {
  expect(pairedRatio([3], [2])).toEqual({ median: 1.5, low: 1.5, high: 1.5, pairs: 1 });
});

test('a difference is that of the pairs, whatever both of a pair see besides', () => {
  const theirs = Array.from({ length: 20 }, (_, turn) => 1 + turn);
  const difference = pairedDifference(
    theirs.map((seconds) => seconds + 0.25),
    theirs,
  );
  expect(difference).toEqual({ median: 0.25, low: 0.25, high: 0.25, pairs: 20 });
});
