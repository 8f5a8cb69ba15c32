/** Configs of more families, with the parameter counts that their publishers state. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../units/errors.js';
import { readHfConfig } from './huggingface.js';
import { getModel } from './names.js';
import { countParameters } from './parameters.js';
import { readModel } from './read.js';
import { unsupportedTypes } from './unsupported.js';

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8');
const counts = (config: object | string): { total: number; active: number } =>
  countParameters(readHfConfig(typeof config === 'string' ? config : JSON.stringify(config), 'm/config.json'));

const refusal = (config: object): string => {
  try {
    readHfConfig(JSON.stringify(config), 'm/config.json');
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  return 'read';
};

const hunyuan = {
  model_type: 'hunyuan_v1_moe',
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 128_167,
  intermediate_size: 3072,
  moe_intermediate_size: Array.from({ length: 32 }, () => 3072),
  moe_topk: Array.from({ length: 32 }, () => 8),
  num_shared_expert: Array.from({ length: 32 }, () => 1),
  num_experts: 64,
  use_qk_norm: true,
  tie_word_embeddings: true,
};

const granite = {
  model_type: 'granitemoe',
  hidden_size: 1024,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  intermediate_size: 512,
  num_local_experts: 32,
  num_experts_per_tok: 8,
  vocab_size: 49_155,
  tie_word_embeddings: true,
};

const llama = {
  model_type: 'llama',
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  intermediate_size: 14_336,
  vocab_size: 128_256,
  rope_theta: 500_000,
  max_position_embeddings: 131_072,
};

const qwenVl = {
  model_type: 'qwen3_vl_moe',
  text_config: {
    model_type: 'qwen3_vl_moe_text',
    hidden_size: 2048,
    num_hidden_layers: 48,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    head_dim: 128,
    intermediate_size: 6144,
    moe_intermediate_size: 768,
    num_experts: 128,
    num_experts_per_tok: 8,
    vocab_size: 151_936,
  },
  vision_config: { hidden_size: 1152 },
};

describe('published parameter counts', () => {
  // model cards; safetensors' own counts where they are exact
  it.each([
    ['ERNIE-4.5-21B-A3B', fixture('ernie-4.5-21b-a3b'), 21.8, 3, 0.005],
    ['Kimi-K2.5', fixture('kimi-k2.5'), 1026, 32, 0.03],
    ['GLM-4.7-Flash', fixture('glm-4.7-flash'), 30, 3, 0.02],
    ['Phi-3.5-MoE', fixture('phi-3.5-moe'), 41.87, 6.6, 0.001],
    ['Hunyuan-A13B', hunyuan, 80.4, 13, 0.005],
    ['granite-3.0-1b-a400m', granite, 1.33, 0.4, 0.01],
    ['Qwen3-VL-30B-A3B, its decoder', qwenVl, 30.53, 3.3, 0.005],
  ])('%s', (_, config, total, active, tolerance) => {
    const found = counts(config);
    expect(Math.abs(found.total / (total * 1e9) - 1)).toBeLessThan(tolerance);
    expect(Math.abs(found.active / (active * 1e9) - 1)).toBeLessThan(0.35);
  });

  it.each([
    ['llama-2-7b', 6_738_415_616],
    ['llama-2-13b', 13_015_864_320],
    ['llama-2-70b', 68_976_648_192],
    ['llama-3-8b', 8_030_261_248],
    ['llama-3-70b', 70_553_706_496],
    ['llama-3.1-405b', 405_853_388_800],
    ['qwen2.5-7b', 7_615_616_512],
    ['qwen2.5-32b', 32_763_876_352],
    ['qwen3-8b', 8_190_735_360],
    ['gpt-oss-20b', 20_914_757_184],
    ['deepseek-v2-lite', 15_706_484_224],
    ['deepseek-v2', 235_741_434_880],
  ])('%s has exactly %i', (name, published) => expect(countParameters(getModel(name)).total).toBe(published));

  it.each([
    ['nemotron-4-15b', 15.6],
    ['nemotron-4-340b', 341],
    ['gpt3-175b', 174.6],
    ['gpt-530b', 530],
    ['gpt-1t', 1008],
    ['grok-1', 314],
    ['qwen2-57b-a14b', 57.4],
    ['llama-4-scout', 109],
    ['llama-4-maverick', 400],
    ['kimi-k2', 1026],
    ['glm-4.5', 355],
    ['glm-4.5-air', 106],
    ['gpt-1.7b', 1.7],
    ['gpt-462b', 462],
  ])('%s has about %f billion', (name, published) =>
    expect(Math.abs(countParameters(getModel(name)).total / (published * 1e9) - 1)).toBeLessThan(0.035),
  );
});

describe('families by their own keys', () => {
  it('ERNIE 4.5: the same as its shape in YAML', () => {
    const yaml = `
hiddenSize: 2560
layers: 28
attentionHeads: 20
keyValueHeads: 4
headDim: 128
vocabSize: 103424
experts: 64
topK: 6
expertFfn: 1536
sharedExpertFfn: 3072
denseFfn: 12288
tieEmbeddings: true
denseLayers: [0]
`;
    expect(counts(fixture('ernie-4.5-21b-a3b'))).toEqual(countParameters(readModel(yaml, 'shape.yaml')));
  });

  it('ERNIE 4.5: experts from one layer to another, every so many', () => {
    const config = { ...(JSON.parse(fixture('ernie-4.5-21b-a3b')) as object), num_hidden_layers: 8 };
    const layers = (change: object): boolean[] =>
      readHfConfig(JSON.stringify({ ...config, ...change }), 'm').moeLayers.slice();
    expect(layers({ moe_layer_start_index: 2, moe_layer_end_index: 5 })).toEqual([
      false,
      false,
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(layers({ moe_layer_start_index: 1, moe_layer_end_index: -1, moe_layer_interval: 2 })).toEqual([
      false,
      true,
      false,
      true,
      false,
      true,
      false,
      true,
    ]);
  });

  it('GLM-4.7-Flash: latent attention, not the attention of glm4_moe', () => {
    expect(readHfConfig(fixture('glm-4.7-flash'), 'm')).toMatchObject({
      family: 'glm4_moe_lite',
      scoring: 'sigmoid',
      routedScaling: 1.8,
      sharedExpertFfn: 1536,
      latentAttention: { queryRank: 768, keyValueRank: 512, nopeHeadDim: 192, ropeHeadDim: 64, valueHeadDim: 256 },
    });
  });

  it('Kimi-K2.5: its decoder is that of Kimi K2, at the top or under text_config', () => {
    const flat = JSON.parse(fixture('kimi-k2.5')) as Record<string, unknown>;
    const { vision_config: vision, architectures, ...text } = flat;
    const nested = {
      model_type: 'kimi_k25',
      architectures,
      vision_config: vision,
      text_config: { ...text, model_type: 'kimi_k2' },
    };
    const model = readHfConfig(JSON.stringify(flat), 'm');
    expect(readHfConfig(JSON.stringify(nested), 'm')).toEqual(model);
    expect(countParameters(model)).toEqual(countParameters(getModel('kimi-k2')));
  });

  it('dense models have no experts, and are read as the presets', () => {
    const { name: _, ...preset } = getModel('llama-3-8b');
    expect(readHfConfig(JSON.stringify(llama), 'm')).toMatchObject({ ...preset, auxLossCoefficient: 0 });
    expect(counts(llama).active).toBe(counts(llama).total);
    const qwen = readHfConfig(JSON.stringify({ ...llama, model_type: 'qwen2' }), 'm');
    expect(qwen.attentionBias).toBe('queryKeyValue');
    expect(counts({ ...llama, model_type: 'qwen2' }).total - counts(llama).total).toBe(32 * (4096 + 2 * 1024));
    // 32 layers: norms of width 128 on queries and keys
    expect(counts({ ...llama, model_type: 'qwen3' }).total - counts(llama).total).toBe(32 * 2 * 128);
    // Phi-3-mini, 3.8B by its card (arXiv 2404.14219): 32 layers of 3072, all heads with keys of their own
    const phi = { hidden_size: 3072, intermediate_size: 8192, vocab_size: 32_064, num_key_value_heads: 32 };
    expect(counts({ ...llama, ...phi, model_type: 'phi3' }).total / 1e9).toBeCloseTo(3.82, 2);
  });

  it('Hunyuan: lists over layers, if they say one thing', () => {
    expect(counts({ ...hunyuan, moe_topk: 8, moe_intermediate_size: 3072, num_shared_expert: 1 })).toEqual(
      counts(hunyuan),
    );
    expect(refusal({ ...hunyuan, moe_topk: [8, 4] })).toMatch(/moe_topk: differs between layers/u);
  });
});

describe('architectures that cannot be described', () => {
  it('a config.json without model_type is told so, and not taken for a shape in YAML', () => {
    const config = { architectures: ['MixtralForCausalLM'], hidden_size: 64, num_hidden_layers: 2 };
    expect(() => readModel(JSON.stringify(config), 'config.json')).toThrow(/"model_type" is missing/u);
  });

  it.each([...unsupportedTypes])('%s: what is missing is said', (type, missing) => {
    expect(refusal({ ...llama, model_type: type })).toContain(`model_type "${type}" is not supported: ${missing}`);
  });

  it.each(['glm5_moe', 'glm4_moe_x', 'qwen4_moe', 'deepseek_v5', 'mixtral_next', 'bailing_moe_v9', 'llama5'])(
    '%s: no other architecture is suggested',
    (type) => expect(refusal({ ...llama, model_type: type })).not.toMatch(/did you mean/u),
  );

  it.each([
    ['mixtrla', 'mixtral'],
    ['qwen3-moe', 'qwen3_moe'],
    ['deepseek_v3 ', 'deepseek_v3'],
  ])('%j is a slip', (type, meant) =>
    expect(refusal({ ...llama, model_type: type })).toContain(`did you mean ${meant}?`),
  );
});

describe('what transformers fills in', () => {
  const latent = {
    hidden_size: 32,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    vocab_size: 64,
    n_routed_experts: 16,
    num_experts_per_tok: 2,
    moe_intermediate_size: 8,
    intermediate_size: 64,
    kv_lora_rank: 8,
    qk_nope_head_dim: 8,
    qk_rope_head_dim: 4,
    v_head_dim: 8,
  };
  const read = (config: object) => readHfConfig(JSON.stringify({ ...latent, ...config }), 'm/config.json');

  it.each([
    [
      'deepseek_v2',
      { sharedExpertFfn: 16, routedScaling: 1, scoring: 'softmax', normTopK: false, rmsNormEps: 1e-6 },
      0,
    ],
    [
      'deepseek_v3',
      { sharedExpertFfn: 8, routedScaling: 2.5, scoring: 'sigmoid', normTopK: true, rmsNormEps: 1e-6 },
      3,
    ],
    ['glm4_moe_lite', { sharedExpertFfn: 8, routedScaling: 1.8, scoring: 'sigmoid', rmsNormEps: 1e-5 }, 1],
    ['glm4_moe', { sharedExpertFfn: 8, routedScaling: 1, scoring: 'sigmoid', rmsNormEps: 1e-5, rotaryDim: 4 }, 1],
  ] as const)('%s', (type, expected, dense) => {
    const model = read({ model_type: type });
    expect(model).toMatchObject(expected);
    expect(model.moeLayers.map((moe) => !moe).filter(Boolean)).toHaveLength(dense);
    expect(model.expertGroups).toEqual(type === 'deepseek_v3' ? { groups: 8, chosen: 4, by: 'twoLargest' } : undefined);
  });

  it('a wrapper around the decoder may say that embeddings are tied', () => {
    const tied = (config: object): boolean => readHfConfig(JSON.stringify(config), 'm').tieEmbeddings;
    expect(tied(qwenVl)).toBe(false);
    expect(tied({ ...qwenVl, tie_word_embeddings: true })).toBe(true);
    expect(
      tied({
        ...qwenVl,
        tie_word_embeddings: true,
        text_config: { ...qwenVl.text_config, tie_word_embeddings: false },
      }),
    ).toBe(false);
  });

  it('biases of DeepSeek-V2 feed-forwards are not passed over, nor picks that chosen groups do not have', () => {
    expect(read({ model_type: 'deepseek_v2', mlp_bias: true }).feedForwardBias).toBe(true);
    const groups = { topk_method: 'group_limited_greedy', n_group: 8, topk_group: 2, num_experts_per_tok: 5 };
    expect(refusal({ ...latent, model_type: 'deepseek_v2', ...groups })).toContain('top-5 of 2 groups of 2 experts');
  });
});
