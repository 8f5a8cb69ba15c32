import { expect, it } from 'vitest';
import { exponential } from './exponential.js';
import { seededRandom } from '../../testing/numbers.js';

it('agrees with Math.exp to better than float32, over its whole range', () => {
  const random = seededRandom(1);
  let worst = 0;
  for (let i = 0; i < 200_000; i++) {
    const x = i < 100_000 ? 2 * random() - 1 : 192.9 * random() - 103.9;
    worst = Math.max(worst, Math.abs(exponential(x) / Math.exp(x) - 1));
  }
  expect(worst).toBeLessThan(1e-8);
});

it('is 0, infinite or NaN outside it', () => {
  expect([0, -0, -104, -Infinity, 89, Infinity].map(exponential)).toEqual([1, 1, 0, 0, Infinity, Infinity]);
  expect(exponential(NaN)).toBeNaN();
  expect(Math.fround(Math.exp(-104))).toBe(0);
  expect(Math.fround(Math.exp(89))).toBe(Infinity);
});
