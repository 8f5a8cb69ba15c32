import { expect, it } from 'vitest';
import { Recent } from './recent.js';

it('keeps those that were asked for last', () => {
  const made: string[] = [];
  const recent = new Recent<{ key: string }>(2);
  const ask = (key: string): string =>
    recent.of(key, () => {
      made.push(key);
      return { key };
    }).key;
  expect(['a', 'b', 'a', 'c', 'a', 'b'].map(ask)).toEqual(['a', 'b', 'a', 'c', 'a', 'b']);
  expect(made).toEqual(['a', 'b', 'c', 'b']);
});
