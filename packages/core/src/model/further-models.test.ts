/** Models that names lead to and lists leave out: sizes beside what their cards and papers say. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readHfConfig } from './huggingface.js';
import { getModel, otherNames } from './names.js';
import { countParameters } from './parameters.js';
import { furtherModels, modelPresets } from './presets.js';

/** Billions of parameters by the model's files or, of GPT-3 and Megatron, by the paper's table. */
const published: Readonly<Record<string, number>> = {
  'llama-7b': 6.738,
  'llama-13b': 13.016,
  'llama-30b': 32.529,
  'llama-65b': 65.286,
  'tinyllama-1.1b': 1.1,
  'codellama-34b': 33.744,
  'llama-3.2-1b': 1.236,
  'llama-3.2-3b': 3.213,
  'yi-6b': 6.061,
  'yi-9b': 8.829,
  'yi-34b': 34.389,
  'deepseek-7b': 6.91,
  'deepseek-67b': 67.42,
  'baichuan2-7b': 7.506,
  'baichuan2-13b': 13.897,
  'internlm2-7b': 7.738,
  'internlm2-20b': 19.86,
  'phi-3-mini': 3.821,
  'phi-3-medium': 13.96,
  'phi-4': 14.66,
  'granite-3-2b': 2.534,
  'granite-3-8b': 8.171,
  'mistral-7b-v0.1': 7.242,
  'mistral-7b': 7.248,
  'codestral-22b': 22.247,
  'mistral-large-123b': 122.61,
  'mistral-nemo-12b': 12.248,
  'mistral-small-24b': 23.572,
  'qwen1.5-7b': 7.721,
  'qwen1.5-14b': 14.167,
  'qwen1.5-32b': 32.51,
  'qwen1.5-72b': 72.288,
  'qwen1.5-110b': 111.21,
  'qwen2-0.5b': 0.494,
  'qwen2-1.5b': 1.544,
  'qwen2-7b': 7.616,
  'qwen2-72b': 72.706,
  'qwen2.5-0.5b': 0.494,
  'qwen2.5-1.5b': 1.544,
  'qwen2.5-3b': 3.086,
  'qwen2.5-14b': 14.77,
  'qwen2.5-72b': 72.706,
  'qwen3-0.6b': 0.596,
  'qwen3-1.7b': 1.721,
  'qwen3-4b': 4.022,
  'qwen3-14b': 14.768,
  'qwen3-32b': 32.762,
  'gpt3-125m': 0.125,
  'gpt3-350m': 0.356,
  'gpt3-760m': 0.76,
  'gpt3-1.3b': 1.316,
  'gpt3-2.7b': 2.65,
  'gpt3-6.7b': 6.658,
  'gpt3-13b': 12.85,
  'gpt-3.6b': 3.6,
  'gpt-7.5b': 7.5,
  'gpt-18.4b': 18.4,
  'gpt-39.1b': 39.1,
  'gpt3-40b': 39.1,
  'gpt-76.1b': 76.1,
  'gpt-145.6b': 145.6,
  'gpt-310.1b': 310.1,
  'gpt-529.6b': 529.6,
  'gpt-1008b': 1008,
  'gpt-2': 0.1244,
  'gpt-2-medium': 0.3548,
  'gpt-2-large': 0.774,
  'gpt-2-xl': 1.5576,
  'opt-125m': 0.1252,
  'opt-1.3b': 1.316,
  'opt-2.7b': 2.652,
  'opt-6.7b': 6.658,
  'opt-13b': 12.853,
  'opt-30b': 29.97,
  'opt-66b': 65.72,
  'opt-175b': 174.6,
  'bloom-3b': 3.003,
  'bloom-7.1b': 7.069,
  'bloom-176b': 176.247,
  'mpt-7b': 6.649,
  'mpt-30b': 29.958,
  'starcoder2-15b': 15.958,
  'qwen3-coder-480b-a35b': 480.2,
  'qwen1.5-moe-a2.7b': 14.316,
  'deepseek-moe-16b': 16.376,
  'moonlight-16b-a3b': 15.96,
  'dots.llm1': 142.8,
  'minimax-m2': 228.7,
  'ernie-4.5-300b-a47b': 299.5,
  'granite-3-1b-a400m': 1.335,
  'granite-3-3b-a800m': 3.299,
  'hunyuan-a13b': 80.4,
};

/** Tables that print one digit behind the point, or three in all. */
const rounded: Readonly<Record<string, number>> = { 'gpt-3.6b': 0.05, 'gpt3-125m': 0.0012 };

/** Held against the files themselves. */
const files: Readonly<Record<string, string>> = {
  'glm-4.7-flash': 'glm-4.7-flash',
  'ernie-4.5-21b-a3b': 'ernie-4.5-21b-a3b',
  'phi-3.5-moe': 'phi-3.5-moe',
};

describe('further models', () => {
  it('are all held against something', () => {
    expect([...furtherModels.keys()].sort()).toEqual([...Object.keys(published), ...Object.keys(files)].sort());
  });

  it.each(Object.entries(published))('%s has %s B parameters', (name, billions) => {
    const counted = countParameters(getModel(name)).total / 1e9;
    expect(Math.abs(counted - billions)).toBeLessThan(rounded[name] ?? 0.005 * billions);
  });

  it.each(Object.entries(files))('%s is what its file says', (name, file) => {
    const text = readFileSync(new URL(`fixtures/${file}.json`, import.meta.url), 'utf8');
    const { total, active } = countParameters(readHfConfig(text, file));
    expect(countParameters(getModel(name))).toMatchObject({ total, active });
  });

  it('share no name with those that are listed', () => {
    expect([...furtherModels.keys()].filter((name) => modelPresets.has(name))).toEqual([]);
  });
});

describe('other names', () => {
  it.each([...otherNames])('%s is %s', (other, name) => expect(getModel(other).name).toBe(name));

  // As tables and recipes write them.
  it.each([
    ['GPT-3 (175B)', 'gpt3-175b'],
    ['GPT3 530B', 'gpt-530b'],
    ['GPT 1.3B', 'gpt3-1.3b'],
    ['Megatron-LM 22B', 'gpt-22b'],
    ['megatron-1T', 'gpt-1t'],
    ['MT-NLG 530B', 'gpt-530b'],
    ['llama31_405b', 'llama-3.1-405b'],
    ['Llama-3_1-70B', 'llama-3-70b'],
    ['LLaMA 65B', 'llama-65b'],
    ['LLaMA-2 (70B)', 'llama-2-70b'],
    ['LLAMA3-70B-LoRA', 'llama-3-70b'],
    ['qwen25_7b', 'qwen2.5-7b'],
    ['Qwen2_5-72B', 'qwen2.5-72b'],
    // no slip for Qwen2.5-7B
    ['Qwen2-57B', 'qwen2-57b-a14b'],
    ['Qwen3 MoE 235B-A22B', 'qwen3-235b-a22b'],
    ['Qwen3 (30B-A3B)', 'qwen3-30b-a3b'],
    ['mistralai/Mistral-7B-Instruct-v0.3', 'mistral-7b'],
    ['mistralai/Mistral-7B-v0.1', 'mistral-7b-v0.1'],
    ['NVIDIA Nemotron-4 340B', 'nemotron-4-340b'],
    ['glm45_air', 'glm-4.5-air'],
    ['Kimi-K2 (1T)', 'kimi-k2'],
    ['Llama4-Scout-17B-16E', 'llama-4-scout'],
    ['GPT-OSS-20B (MXFP4)', 'gpt-oss-20b'],
  ])('%s is %s', (text, name) => expect(getModel(text).name).toBe(name));

  it.each([
    ['Falcon-180B', 'side by side'],
    ['PaLM 540B', 'side by side'],
    ['GPT-NeoX-20B', 'side by side'],
    ['gemma-7b', 'scaled in its own way'],
    ['Gemma 3 27B', 'scaled in its own way'],
    ['snowflake-arctic-base', 'a dense feed-forward beside the experts'],
    ['Jamba-1.5-Large', 'state-space'],
    ['MiniMax-Text-01', 'linear attention'],
    ['Hunyuan-Large', 'layers share'],
    ['OLMo-2-32B', 'norms behind'],
    ['Llama-3.3-Nemotron-Super-49B', 'differ from one another'],
    ['T5-11B', 'an encoder'],
  ])('%s is refused: it has %s', (text, missing) => expect(() => getModel(text)).toThrow(missing));
});
