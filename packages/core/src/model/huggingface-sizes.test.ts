/** Parameters of public models by their config.json, beside what their cards say. */
import { describe, expect, it } from 'vitest';
import { readHfConfig } from './huggingface.js';
import { countParameters } from './parameters.js';

type Config = Readonly<Record<string, unknown>>;

const shape = (hidden: number, layers: number, heads: number, keyValueHeads: number, vocabulary: number): Config => ({
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: keyValueHeads,
  vocab_size: vocabulary,
});

const ling2: Config = {
  model_type: 'bailing_moe_v2',
  head_dim: 128,
  num_experts: 256,
  num_shared_experts: 1,
  num_experts_per_tok: 8,
  n_group: 8,
  topk_group: 4,
  routed_scaling_factor: 2.5,
  use_qk_norm: true,
  partial_rotary_factor: 0.5,
};

const glmAir: Config = {
  ...shape(4096, 46, 96, 8, 151_552),
  intermediate_size: 10_944,
  moe_intermediate_size: 1408,
  head_dim: 128,
  n_routed_experts: 128,
  n_shared_experts: 1,
  num_experts_per_tok: 8,
  first_k_dense_replace: 1,
  attention_bias: true,
  partial_rotary_factor: 0.5,
};

const omni: Config = {
  ...shape(2048, 48, 32, 4, 152_064),
  model_type: 'qwen3_omni_moe_text',
  head_dim: 128,
  num_experts: 128,
  num_experts_per_tok: 8,
  moe_intermediate_size: 768,
  intermediate_size: 768,
};

/** Billions of the card, all and for one token, and the file's keys that sizes depend on. */
const published: readonly (readonly [name: string, total: number, active: number, config: Config])[] = [
  [
    'Ling-lite',
    16.8,
    2.75,
    {
      ...shape(2048, 28, 16, 4, 126_464),
      model_type: 'bailing_moe',
      moe_intermediate_size: 1408,
      head_dim: 128,
      num_experts: 64,
      num_shared_experts: 2,
      num_experts_per_tok: 6,
    },
  ],
  [
    'Ling-mini-2.0',
    16.26,
    1.43,
    {
      ...shape(2048, 20, 16, 4, 157_184),
      ...ling2,
      first_k_dense_replace: 1,
      intermediate_size: 5120,
      moe_intermediate_size: 512,
    },
  ],
  [
    'Ling-1T',
    1000,
    51,
    {
      ...shape(8192, 80, 64, 8, 157_184),
      ...ling2,
      first_k_dense_replace: 4,
      intermediate_size: 18_432,
      moe_intermediate_size: 2048,
    },
  ],
  [
    'dots.llm1',
    142.8,
    14,
    {
      ...shape(4096, 62, 32, 32, 152_064),
      model_type: 'dots1',
      intermediate_size: 10_944,
      moe_intermediate_size: 1408,
      n_shared_experts: 2,
      n_routed_experts: 128,
      num_experts_per_tok: 6,
      first_k_dense_replace: 1,
      n_group: null,
      topk_group: null,
      scoring_func: 'sigmoid',
    },
  ],
  [
    'DeepSeekMoE-16B',
    16.4,
    2.83,
    {
      ...shape(2048, 28, 16, 16, 102_400),
      model_type: 'deepseek',
      intermediate_size: 10_944,
      moe_intermediate_size: 1408,
      n_shared_experts: 2,
      n_routed_experts: 64,
      num_experts_per_tok: 6,
      first_k_dense_replace: 1,
    },
  ],
  [
    'Grok-1',
    314,
    84,
    {
      ...shape(6144, 64, 48, 8, 131_072),
      model_type: 'grok-1',
      intermediate_size: 32_768,
      num_experts: 8,
      num_experts_per_tok: 2,
    },
  ],
  ['GLM-4.5V', 106.9, 13.4, { model_type: 'glm4v_moe', text_config: { model_type: 'glm4v_moe_text', ...glmAir } }],
  ['Qwen3-Omni-30B', 30.5, 3.35, { model_type: 'qwen3_omni_moe', thinker_config: { text_config: omni } }],
  [
    'GLM-4-32B-0414',
    32.6,
    32.6,
    { ...shape(6144, 61, 48, 2, 151_552), model_type: 'glm4', intermediate_size: 23_040, head_dim: 128 },
  ],
  [
    'ChatGLM3-6B',
    6.24,
    6.24,
    {
      model_type: 'chatglm',
      hidden_size: 4096,
      num_layers: 28,
      num_attention_heads: 32,
      kv_channels: 128,
      multi_query_attention: true,
      multi_query_group_num: 2,
      padded_vocab_size: 65_024,
      ffn_hidden_size: 13_696,
      add_qkv_bias: true,
    },
  ],
  [
    'InternLM2-7B',
    7.74,
    7.74,
    { ...shape(4096, 32, 32, 8, 92_544), model_type: 'internlm2', intermediate_size: 14_336 },
  ],
  [
    'EXAONE-3.5-7.8B',
    7.82,
    7.82,
    {
      model_type: 'exaone',
      hidden_size: 4096,
      num_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      vocab_size: 102_400,
      intermediate_size: 14_336,
      activation_function: 'silu',
    },
  ],
  [
    'Qwen-7B',
    7.72,
    7.72,
    { ...shape(4096, 32, 32, 32, 151_936), model_type: 'qwen', intermediate_size: 22_016, no_bias: true },
  ],
  ['StableLM-3B', 2.8, 2.8, { ...shape(2560, 32, 32, 32, 50_304), model_type: 'stablelm', intermediate_size: 6912 }],
  [
    'MiniCPM3-4B',
    4.07,
    4.07,
    {
      ...shape(2560, 62, 40, 40, 73_448),
      model_type: 'minicpm3',
      intermediate_size: 6400,
      q_lora_rank: 768,
      kv_lora_rank: 256,
      qk_nope_head_dim: 64,
      qk_rope_head_dim: 32,
    },
  ],
  [
    'Seed-OSS-36B',
    36.15,
    36.15,
    {
      ...shape(5120, 64, 80, 8, 155_136),
      model_type: 'seed_oss',
      intermediate_size: 27_648,
      head_dim: 128,
      attention_bias: true,
      attention_out_bias: false,
    },
  ],
  [
    'Apertus-8B',
    8.05,
    8.05,
    { ...shape(4096, 32, 32, 8, 131_072), model_type: 'apertus', intermediate_size: 21_504, hidden_act: 'xielu' },
  ],
  [
    'Nemotron-4-340B',
    341,
    341,
    { ...shape(18_432, 96, 96, 8, 256_000), model_type: 'nemotron', intermediate_size: 73_728, hidden_act: 'relu2' },
  ],
  [
    'StarCoder2-3B',
    3.03,
    3.03,
    {
      ...shape(3072, 30, 24, 2, 49_152),
      model_type: 'starcoder2',
      intermediate_size: 12_288,
      hidden_act: 'gelu_pytorch_tanh',
    },
  ],
  [
    'GPT-2 XL',
    1.558,
    1.558,
    { model_type: 'gpt2', n_embd: 1600, n_layer: 48, n_head: 25, n_positions: 1024, vocab_size: 50_257 },
  ],
  [
    'StarCoder',
    15.5,
    15.5,
    {
      model_type: 'gpt_bigcode',
      n_embd: 6144,
      n_layer: 40,
      n_head: 48,
      n_positions: 8192,
      n_inner: 24_576,
      multi_query: true,
      vocab_size: 49_152,
    },
  ],
  [
    'OPT-6.7B',
    6.66,
    6.66,
    {
      model_type: 'opt',
      hidden_size: 4096,
      ffn_dim: 16_384,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      max_position_embeddings: 2048,
      vocab_size: 50_272,
    },
  ],
  [
    'Mistral-Small-3.1',
    23.57,
    23.57,
    {
      model_type: 'mistral3',
      text_config: {
        ...shape(5120, 40, 32, 8, 131_072),
        model_type: 'mistral',
        intermediate_size: 32_768,
        head_dim: 128,
      },
    },
  ],
];

describe('sizes of public models', () => {
  it.each(published)('%s: %s B, %s B active', (_, total, active, config) => {
    const parameters = countParameters(readHfConfig(JSON.stringify(config), 'config.json'));
    expect(Math.abs(parameters.total / 1e9 / total - 1)).toBeLessThan(0.007);
    expect(Math.abs(parameters.active / 1e9 / active - 1)).toBeLessThan(0.01);
  });

  it('an unknown architecture that shows what it has is refused with that', () => {
    const read = (more: Config) => () =>
      readHfConfig(
        JSON.stringify({ ...shape(64, 2, 4, 2, 128), model_type: 'orion', num_experts: 8, ...more }),
        'config.json',
      );
    expect(read({ mamba_d_state: 16 })).toThrow('"mamba_d_state" says that it has state-space (Mamba) layers');
    expect(read({ linear_num_value_heads: 4 })).toThrow('linear attention');
    expect(read({ use_parallel_residual: true })).toThrow('side by side');
    // Off is not a sign; the hint has what the file says.
    expect(read({ use_parallel_residual: false })).toThrow('no family that is known here: which norms and biases');
    expect(read({})).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('hiddenSize: 64, layers: 2') as string }) as Error,
    );
  });

  it('a router of each kind of input, and a parallel residual, are refused where they are on', () => {
    const [, , , ling] = published[0] ?? [];
    const gated = JSON.stringify({ ...ling, multi_gate: true });
    expect(() => readHfConfig(gated, 'config.json')).toThrow('a router of its own');
    const stable = published.find(([name]) => name === 'StableLM-3B')?.[3];
    expect(() => readHfConfig(JSON.stringify({ ...stable, use_parallel_residual: true }), 'config.json')).toThrow(
      'side by side',
    );
  });
});
