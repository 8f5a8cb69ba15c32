import { expect, it } from 'vitest';
import { readPlace, writePlace } from './location.js';

it('reads back what it writes', () => {
  const params = new URLSearchParams({ model: 'a/b & c?#', cluster: 'h100-2x8', tp: '1..8' });
  const { page, params: read } = readPlace(writePlace({ page: 'explore', params }));
  expect(page).toBe('explore');
  expect([...read]).toEqual([...params]);
});

it('leaves out what is empty, and takes an unknown page for the first', () => {
  expect(writePlace({ page: 'plan', params: new URLSearchParams({ tp: '' }) })).toBe('#/plan');
  expect(readPlace('#/nowhere?x=1').page).toBe('plan');
  expect(readPlace('').page).toBe('plan');
});
