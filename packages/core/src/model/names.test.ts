import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../units/errors.js';
import { getModel } from './names.js';
import { countParameters } from './parameters.js';
import { modelPresets } from './presets.js';

const published = readFileSync(new URL('fixtures/published-names.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

const hybrids = /nemotron.*(?:nano|super|ultra|lightning)|qwen3-next|deepseek-?v4/iu;

const refusal = (name: string): string => {
  try {
    return getModel(name).name;
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
};

describe('names that publications use', () => {
  it.each(published.filter((name) => !hybrids.test(name)))(
    '%s is known, and of the size that its name says',
    (name) => {
      const model = getModel(name);
      const billions = /(?<![.\dx])(\d+(?:\.\d+)?)b(?![a-z])/iu.exec(name)?.[1];
      const layers = /(\d+) layers/u.exec(name)?.[1];
      expect(layers === undefined ? model.layers : Number(layers)).toBe(model.layers);
      if (billions === undefined || layers !== undefined || name.includes('8x')) return;
      // names round, some by a tenth
      expect(Math.abs(countParameters(model).total / 1e9 / Number(billions) - 1)).toBeLessThan(0.12);
    },
  );

  it.each(published.filter((name) => hybrids.test(name)))('%s is refused by name, with what is missing', (name) => {
    expect(refusal(name)).toMatch(/cannot be described: it has (?:state-space|layers of linear|compressed sparse)/u);
  });
});

describe('Hugging Face names, in any case', () => {
  it.each([
    ['mistralai/Mixtral-8x7B-v0.1', 'mixtral-8x7b'],
    ['mistralai/Mixtral-8x22B-Instruct-v0.1', 'mixtral-8x22b'],
    ['Qwen/Qwen3-30B-A3B-Instruct-2507', 'qwen3-30b-a3b'],
    ['QWEN3_30B_A3B', 'qwen3-30b-a3b'],
    ['meta-llama/Meta-Llama-3-70B-Instruct', 'llama-3-70b'],
    ['meta-llama/Llama-3.1-405B', 'llama-3.1-405b'],
    ['deepseek-ai/DeepSeek-V3-0324', 'deepseek-v3'],
    ['deepseek-ai/DeepSeek-V3-Base', 'deepseek-v3'],
    ['openai/gpt-oss-120b', 'gpt-oss-120b'],
    ['moonshotai/Kimi-K2-Instruct', 'kimi-k2'],
    ['allenai/OLMoE-1B-7B-0924', 'olmoe-1b-7b'],
    ['Qwen/Qwen2.5-7B', 'qwen2.5-7b'],
    ['Qwen/Qwen2-57B-A14B-Instruct', 'qwen2-57b-a14b'],
    ['xai-org/grok-1', 'grok-1'],
  ])('%s', (name, preset) => expect(getModel(name)).toBe(modelPresets.get(preset)));

  it('every preset by its own name, upper or lower', () => {
    for (const [name, model] of modelPresets) {
      expect(getModel(name)).toBe(model);
      expect(getModel(name.toUpperCase().replaceAll('-', '_'))).toBe(model);
    }
  });
});

describe('variants', () => {
  it('truncated: the first layers, dense ones and windows with them', () => {
    const v3 = getModel('deepseekv3 truncated to 4 layers');
    expect(v3.moeLayers).toEqual([false, false, false, true]);
    const oss = getModel('gpt-oss-20b truncated to 3 layers');
    expect(oss.window?.layers).toEqual([true, false, true]);
    const whole = countParameters(getModel('llama3_70b'));
    const cut = countParameters(getModel('llama3_70b truncated to 12 layers'));
    expect((whole.total - cut.total) / 68).toBe((cut.total - cut.embedding - cut.output - 8192) / 12);
    expect(getModel('Llama 3 70B (truncated to 12 layers)')).toEqual(
      expect.objectContaining({ layers: 12, hiddenSize: 8192 }),
    );
    expect(refusal('llama3_8b truncated to 40 layers')).toMatch(/has 40 layers, llama-3-8b has 32/u);
  });

  it('with and without multi-token prediction', () => {
    expect(getModel('DeepSeekV3 (w/o MTP)').multiTokenLayers).toBe(0);
    expect(getModel('DeepSeekV3 (w/ MTP)').multiTokenLayers).toBe(1);
    expect(getModel('DeepSeekV3 (tokendrop)')).toBe(getModel('deepseek-v3'));
  });

  it('proxies: what differs is taken, what contradicts the model is refused', () => {
    const proxy =
      'DeepSeek-V3 proxy: 14 layers, h7168, ffn18432, 64 experts top-8, expert ffn 2048, shared 2048, MLA, 1 MTP';
    expect(getModel(proxy)).toMatchObject({ layers: 14, experts: 64, topK: 8, multiTokenLayers: 1, hiddenSize: 7168 });
    expect(refusal(proxy.replace('h7168', 'h4096'))).toMatch(/says hiddenSize 4096, but deepseek-v3 has 7168/u);
  });
});

describe('unknown names', () => {
  it.each([
    'llama-3-7b',
    'qwen3-33b',
    'llama-70b',
    'llama-3-3b',
    'mixtral-8x9b',
    'deepseek-v5',
    'gpt-oss-60b',
    'kimi-k3',
  ])('%s: nothing of another size or architecture is suggested', (name) =>
    expect(refusal(name)).toMatch(/is not a known model(?!(?:.|\n)*did you mean)/u),
  );

  it.each([
    ['mixtral-8x7', 'mixtral-8x7b'],
    ['lama-3-8b', 'llama-3-8b'],
    ['qwen3-30b-b3a', 'qwen3-30b-a3b'],
  ])('%s', (name, meant) => expect(/did you mean (\S+)\?/u.exec(refusal(name))?.[1]).toBe(meant));

  it.each([
    'nvidia/Nemotron-H-47B',
    'ai21labs/Jamba-v0.1',
    'Qwen/Qwen3.5-397B-A17B',
    'deepseek-ai/DeepSeek-V3.2',
    'tiiuae/Falcon-H1-34B',
  ])('%s is refused by name', (name) => expect(refusal(name)).toMatch(/cannot be described/u));
});
