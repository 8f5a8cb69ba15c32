import { expect, test } from 'vitest';
import { expertLoad } from './expert-load.js';

const even = (step: number) => ({ step, expertShares: [0.5, 0.5] });

test('a balanced load is 1 in every span, and spans part the steps without a gap', () => {
  const steps = Array.from({ length: 50 }, (_, i) => even(i + 1));
  const [load] = expertLoad(steps, 50);
  expect(load?.stepEdges).toHaveLength(13);
  expect(load?.stepEdges[0]).toBe(0);
  expect(load?.stepEdges.at(-1)).toBe(50);
  expect(load?.experts.flat().every((value) => value === 1)).toBe(true);
});

test('an expert with all picks has a load of the number of experts, in the steps where it had them', () => {
  const steps = [even(1), { step: 2, expertShares: [1, 0] }];
  expect(expertLoad(steps, 2)[0]?.experts).toEqual([
    [1, 2],
    [1, 0],
  ]);
});

test('no steps and no experts give no load', () => {
  expect(expertLoad([], 10)).toEqual([]);
  expect(expertLoad([{ step: 1, expertShares: [] }], 1)).toEqual([]);
});
