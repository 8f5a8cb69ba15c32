import { getModel } from '@monta/core';
import { expect, it } from 'vitest';
import { checkSupported } from './supported.js';

it.each([
  ['ernie-4.5-21b-a3b', 'a selection bias beside softmax scores, and an auxiliary loss over picks without it'],
  ['phi-3.5-moe', "SparseMixer's choice of experts, norms with biases, a bias of the output matrix"],
  ['hunyuan-a13b', 'norms of queries and keys behind their rotation'],
  ['llama-4-maverick', 'chunked attention, scores that scale rows before their experts'],
])('%s is refused with what is missing', (name, missing) => {
  expect(() => checkSupported(getModel(name))).toThrow(missing);
});

it('heads whose elements do not pair are refused before anything runs', () => {
  expect(() => checkSupported({ ...getModel('mixtral-8x7b'), headDim: 127 })).toThrow('127 turning elements a head');
  expect(() => checkSupported({ ...getModel('mixtral-8x7b'), headDim: 127, rotaryDim: 64 })).not.toThrow();
});

it.each(['deepseek-v3', 'qwen3-30b-a3b', 'gpt-oss-20b', 'mixtral-8x7b', 'glm-4.5', 'dots.llm1'])(
  '%s is computed',
  (name) => {
    expect(() => checkSupported(getModel(name))).not.toThrow();
  },
);
