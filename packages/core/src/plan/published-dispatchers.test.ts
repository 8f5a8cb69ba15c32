import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { median } from '../units/index.js';
import { dispatcherPairs, readTimedDispatchers } from './published-dispatchers.js';

const file = new URL('./fixtures/dispatchers.csv', import.meta.url);
const pairs = dispatcherPairs(readTimedDispatchers(readFileSync(file, 'utf8'), 'dispatchers.csv'));

describe('published times of dispatchers', () => {
  it('have ratios within 12 % of the predicted ones (median), each pair within a third', () => {
    expect(pairs.length).toBeGreaterThanOrEqual(20);
    expect(median(pairs.map(({ error }) => Math.abs(error)))).toBeLessThan(0.12);
    expect(pairs.filter(({ error }) => Math.abs(error) > 1 / 3)).toEqual([]);
  });

  it('put all_to_all before HybridEP for gpt-oss on a rack, or in a tie, and behind it on eight H100', () => {
    const steps = pairs.filter(({ first }) => first.kind === 'step');
    expect(steps).toHaveLength(2);
    for (const { published, predicted } of steps) {
      expect(published).toBeLessThan(1);
      expect(predicted).toBeLessThan(1.02);
    }
    const layers = pairs.filter(({ first, second }) => first.kind === 'layer' && second.dispatcher === 'hybridep');
    for (const { predicted } of layers) expect(predicted).toBeGreaterThan(1);
  });
});
