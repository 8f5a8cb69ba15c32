import { expect, it } from 'vitest';
import { getModel } from '../model/index.js';
import { leftOutOfStep, unpricedInStep } from './unpriced.js';

it.each([
  ['grok-1', /norms behind attention and feed-forward/u],
  ['dbrx', /cut to a range/u],
  ['deepseek-v3', /multi-token prediction/u],
  ['nemotron-4-15b', /without gates/u],
  ['llama-4-maverick', /chunks of 8192 tokens/u],
])('%s: what its program lacks is named', (name, words) => {
  const model = getModel(name);
  expect([...unpricedInStep(model), ...leftOutOfStep(model)].join('; ')).toMatch(words);
});

it.each(['mixtral-8x7b', 'qwen3-30b-a3b', 'gpt-oss-120b', 'deepseek-v2'])('%s is priced whole', (name) => {
  expect([...unpricedInStep(getModel(name)), ...leftOutOfStep(getModel(name))]).toEqual([]);
});

it('a step of Grok-1 has a price, beside which its second norms are named', () => {
  expect(unpricedInStep(getModel('grok-1'))).toEqual([]);
});
