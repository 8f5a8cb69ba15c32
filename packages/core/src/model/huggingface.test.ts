import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../units/errors.js';
import { readHfConfig } from './huggingface.js';
import { countParameters } from './parameters.js';
import { getModel } from './names.js';

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8');

function message(config: unknown): string {
  try {
    readHfConfig(typeof config === 'string' ? config : JSON.stringify(config, null, 1), 'm/config.json');
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('expected an InputError');
}

describe('files of transformers 5', () => {
  it('Mixtral: expert width is intermediate_size, head_dim null, rope_parameters', () => {
    expect(readHfConfig(fixture('tiny-mixtral'), 'x/tiny-mixtral/config.json')).toMatchObject({
      name: 'tiny-mixtral',
      family: 'mixtral',
      hiddenSize: 32,
      layers: 2,
      attentionHeads: 4,
      keyValueHeads: 2,
      headDim: 8,
      vocabSize: 128,
      experts: 8,
      topK: 2,
      expertFfn: 48,
      normTopK: true,
      qkNorm: 'none',
      rmsNormEps: 1e-5,
      ropeTheta: 1e6,
      ropeType: 'default',
      auxLossCoefficient: 0.02,
      tieEmbeddings: false,
      moeLayers: [true, true],
      maxPositions: 64,
    });
  });

  it('Qwen3: num_local_experts, moe_intermediate_size, norm on every head', () => {
    expect(readHfConfig(fixture('tiny-qwen3-moe'), 'tiny-qwen3-moe.json')).toMatchObject({
      name: 'tiny-qwen3-moe',
      family: 'qwen3_moe',
      experts: 16,
      topK: 4,
      expertFfn: 24,
      denseFfn: 64,
      headDim: 8,
      keyValueHeads: 2,
      normTopK: true,
      qkNorm: 'perHead',
      moeLayers: [true, true],
    });
  });

  it('OLMoE: weights not renormalised, norm over all heads', () => {
    const model = readHfConfig(fixture('tiny-olmoe'), 'tiny-olmoe.json');
    expect(model).toMatchObject({
      experts: 8,
      topK: 2,
      expertFfn: 40,
      normTopK: false,
      qkNorm: 'allHeads',
      keyValueHeads: 4,
      auxLossCoefficient: 0.01,
    });
    expect(model).not.toHaveProperty('clipQkv');
  });
});

const qwen = {
  model_type: 'qwen3_moe',
  hidden_size: 2048,
  num_hidden_layers: 48,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 128,
  vocab_size: 151_936,
  num_experts: 128,
  num_experts_per_tok: 8,
  moe_intermediate_size: 768,
  intermediate_size: 6144,
  norm_topk_prob: true,
  rope_theta: 1_000_000,
  rms_norm_eps: 1e-6,
  decoder_sparse_step: 1,
  mlp_only_layers: [] as number[],
  router_aux_loss_coef: 0.001,
  max_position_embeddings: 40_960,
};

const deepseek = {
  model_type: 'deepseek_v3',
  hidden_size: 7168,
  num_hidden_layers: 61,
  num_attention_heads: 128,
  num_key_value_heads: 128,
  vocab_size: 129_280,
  n_routed_experts: 256,
  n_shared_experts: 1,
  num_experts_per_tok: 8,
  moe_intermediate_size: 2048,
  intermediate_size: 18_432,
  first_k_dense_replace: 3,
  moe_layer_freq: 1,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  norm_topk_prob: true,
  scoring_func: 'sigmoid',
  routed_scaling_factor: 2.5,
  num_nextn_predict_layers: 1,
  n_group: 8,
  topk_group: 4,
  topk_method: 'noaux_tc',
  rms_norm_eps: 1e-6,
  aux_loss_alpha: 0.0001,
  max_position_embeddings: 163_840,
  rope_scaling: {
    type: 'yarn',
    factor: 40,
    beta_fast: 32,
    beta_slow: 1,
    mscale: 1,
    mscale_all_dim: 1,
    original_max_position_embeddings: 4096,
  },
};

const secondDeepseek = { ...deepseek, model_type: 'deepseek_v2', scoring_func: 'softmax', topk_method: 'greedy' };

const oss = {
  model_type: 'gpt_oss',
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  vocab_size: 96,
  intermediate_size: 32,
  num_local_experts: 8,
  num_experts_per_tok: 2,
};

describe('keys as the classes of transformers take them', () => {
  const read = (config: object) => readHfConfig(JSON.stringify(config), 'm/config.json');

  it('no shared experts are written as 0; files with code of their own may say null, and may have a step', () => {
    expect(read({ ...deepseek, n_shared_experts: 0 }).sharedExpertFfn).toBe(0);
    const kimi = read({ ...deepseek, model_type: 'kimi_k2', n_shared_experts: null, moe_layer_freq: 2 });
    expect(kimi.sharedExpertFfn).toBe(0);
    expect(kimi.moeLayers.slice(0, 6)).toEqual([false, false, false, false, true, false]);
  });

  it('gpt-oss has a window, heads and a rotation of its own where the file says nothing', () => {
    expect(read(oss)).toMatchObject({
      headDim: 64,
      keyValueHeads: 8,
      window: { tokens: 128, layers: [true, false] },
      ropeScaling: { kind: 'yarn', factor: 32, originalPositions: 4096, truncate: false },
    });
    expect(read({ ...oss, rope_parameters: { rope_type: 'default', rope_theta: 1e4 } }).ropeType).toBe('default');
  });

  it('keys that a class leaves out change nothing, and those that it fills in are filled in', () => {
    const mixtral = { ...qwen, model_type: 'mixtral' };
    const plain = read(mixtral);
    expect(read({ ...mixtral, attention_bias: true, clip_qkv: 1 })).toEqual(plain);
    const olmoe = { ...mixtral, model_type: 'olmoe' };
    expect(read({ ...olmoe, sliding_window: 4 }).window).toBeUndefined();
    expect(read({ ...olmoe, clip_qkv: 1 }).clipQkv).toBe(1);
    // Eight heads of keys in Mixtral's class; null is as many as of queries.
    expect(read({ ...mixtral, num_key_value_heads: undefined }).keyValueHeads).toBe(8);
    expect(read({ ...mixtral, num_key_value_heads: null }).keyValueHeads).toBe(32);
    // Biases of two down projections and the output.
    const more =
      countParameters(read({ ...deepseek, attention_bias: true })).total - countParameters(read(deepseek)).total;
    expect(more).toBe(61 * (1536 + 512 + 64 + 7168));
  });
});

describe('files of transformers 4', () => {
  it('read as the presets', () => {
    const same = { ...getModel('qwen3-30b-a3b'), name: 'm', denseFfn: 6144 };
    expect(readHfConfig(JSON.stringify(qwen), 'm/config.json')).toEqual(same);
    expect(readHfConfig(JSON.stringify(deepseek), 'm/config.json')).toEqual({ ...getModel('deepseek-v3'), name: 'm' });
  });

  it('know dense layers by list and by step', () => {
    const model = readHfConfig(
      JSON.stringify({ ...qwen, num_hidden_layers: 6, decoder_sparse_step: 2, mlp_only_layers: [3] }),
      'm',
    );
    expect(model.moeLayers).toEqual([false, true, false, false, false, true]);
    expect(model.denseFfn).toBe(6144);
  });

  it('take the rotated part of a head from rope_parameters, and the key beside it where it has none', () => {
    const glm = {
      model_type: 'glm4_moe',
      hidden_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      head_dim: 16,
      vocab_size: 96,
      intermediate_size: 32,
      moe_intermediate_size: 8,
      n_routed_experts: 8,
      num_experts_per_tok: 2,
      partial_rotary_factor: 0.5,
    };
    const rotaryDim = (config: unknown): number | undefined =>
      readHfConfig(JSON.stringify(config), 'g/config.json').rotaryDim;
    expect(rotaryDim({ ...glm, rope_parameters: { rope_theta: 1e4, partial_rotary_factor: 0.25 } })).toBe(4);
    expect(rotaryDim({ ...glm, rope_parameters: { rope_theta: 1e4 } })).toBe(8);
  });

  it.each(['rope_parameters', 'rope_scaling'])('refuse %s that is no map', (key) => {
    for (const value of ['yarn', [4], 0, true])
      expect(() => readHfConfig(JSON.stringify({ ...qwen, [key]: value }), 'm')).toThrow(/is not a map/u);
    expect(readHfConfig(JSON.stringify({ ...qwen, [key]: null }), 'm').ropeType).toBe('default');
  });

  it('may have no low rank for queries', () => {
    const model = readHfConfig(JSON.stringify({ ...secondDeepseek, q_lora_rank: null }), 'm');
    expect(model.latentAttention).not.toHaveProperty('queryRank');
    expect(model.family).toBe('deepseek_v2');
  });

  it('read DBRX’s nested maps', () => {
    const dbrx = {
      model_type: 'dbrx',
      d_model: 6144,
      n_heads: 48,
      n_layers: 40,
      max_seq_len: 32_768,
      vocab_size: 100_352,
      attn_config: { clip_qkv: 8, kv_n_heads: 8, rope_theta: 500_000 },
      ffn_config: {
        ffn_hidden_size: 10_752,
        moe_loss_weight: 0.05,
        moe_num_experts: 16,
        moe_top_k: 4,
        moe_normalize_expert_weights: 1,
      },
    };
    expect(readHfConfig(JSON.stringify(dbrx), 'm/config.json')).toEqual({ ...getModel('dbrx'), name: 'm' });
  });

  it.each([
    ['mixtral', [true, true, true, true]],
    ['qwen3_moe', [true, true, true, true]],
    ['qwen2_moe', [true, false, true, false]],
    ['qwen3', [false, false, false, true]],
  ])('give %s windows where its configuration class does, unless layer_types say it', (type, layers) => {
    const config = {
      model_type: type,
      hidden_size: 32,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      vocab_size: 29,
      num_experts: 4,
      num_experts_per_tok: 2,
      intermediate_size: 16,
      moe_intermediate_size: 16,
      shared_expert_intermediate_size: 16,
      sliding_window: 3,
      use_sliding_window: true,
      max_window_layers: 3,
    };
    const window = (more: object) => readHfConfig(JSON.stringify({ ...config, ...more }), 'm').window?.layers;
    expect(window({})).toEqual(layers);
    const types = ['full_attention', 'sliding_attention', 'full_attention', 'full_attention'];
    expect(window({ layer_types: types })).toEqual([false, true, false, false]);
  });

  it('read gpt-oss with alternate windows, and Llama 4 under text_config', () => {
    const oss = {
      model_type: 'gpt_oss',
      hidden_size: 2880,
      num_hidden_layers: 36,
      num_attention_heads: 64,
      num_key_value_heads: 8,
      head_dim: 64,
      vocab_size: 201_088,
      num_local_experts: 128,
      experts_per_token: 4,
      intermediate_size: 2880,
      attention_bias: true,
      sliding_window: 128,
      rope_scaling: {
        rope_type: 'yarn',
        factor: 32,
        beta_fast: 32,
        beta_slow: 1,
        original_max_position_embeddings: 4096,
        truncate: false,
      },
      max_position_embeddings: 131_072,
    };
    expect(readHfConfig(JSON.stringify(oss), 'm/config.json')).toEqual({ ...getModel('gpt-oss-120b'), name: 'm' });
    const maverick = {
      model_type: 'llama4',
      text_config: {
        model_type: 'llama4_text',
        hidden_size: 5120,
        num_hidden_layers: 48,
        num_attention_heads: 40,
        num_key_value_heads: 8,
        head_dim: 128,
        vocab_size: 202_048,
        num_local_experts: 128,
        num_experts_per_tok: 1,
        intermediate_size: 8192,
        intermediate_size_mlp: 16_384,
        interleave_moe_layer_step: 2,
        attention_chunk_size: 8192,
      },
    };
    const model = readHfConfig(JSON.stringify(maverick), 'm');
    expect(model.moeLayers.slice(0, 4)).toEqual([false, true, false, true]);
    expect(model.window?.layers.slice(0, 8)).toEqual([true, true, true, false, true, true, true, false]);
    // Meta's model card: 400B in all, 17B active.
    const { total, active } = countParameters(model);
    expect(total / 1e9).toBeCloseTo(400, -1);
    expect(active / 1e9).toBeCloseTo(17, 0);
  });
});

describe('refused files', () => {
  it.each([
    [{ ...qwen, model_type: 'orion' }, 'm/config.json:2:16  model_type: model_type "orion" is no family that is known'],
    [{ ...qwen, model_type: 'qwen3_mo' }, 'did you mean qwen3_moe?'],
    [
      { ...qwen, model_type: 'qwen3_next' },
      'layers of linear attention among its attention layers would be counted wrongly',
    ],
    [{ ...qwen, model_type: undefined }, '"model_type" is missing'],
    [
      { ...qwen, num_experts: undefined, num_expert: 3 },
      '"num_local_experts" or "num_experts" or "n_routed_experts" is missing',
    ],
    [{ ...qwen, hidden_size: '2048' }, 'hidden_size: "2048" is not a whole number'],
    [{ ...qwen, num_experts_per_tok: 129 }, 'topK: top-129 of 128 experts'],
    [{ ...qwen, num_key_value_heads: 5 }, '5 key-value heads do not divide 32 heads'],
    [{ ...deepseek, kv_lora_rank: null }, '"kv_lora_rank" is missing'],
    // Taken otherwise by transformers' DeepSeek-V3, which has sigmoids and no step, and cannot be built with null.
    [{ ...deepseek, scoring_func: 'softmax' }, 'scoring_func: "softmax" is not what transformers computes'],
    [{ ...deepseek, moe_layer_freq: 2 }, 'moe_layer_freq: 2 is not what transformers computes for deepseek_v3'],
    [{ ...deepseek, n_shared_experts: null }, 'n_shared_experts: is null'],
    [{ ...deepseek, n_group: null }, 'n_group: is null'],
    [{ ...deepseek, norm_topk_prob: null }, 'norm_topk_prob: is null'],
    [{ ...secondDeepseek, scoring_func: 'sigmoid' }, 'experts are always scored by softmax'],
    [{ ...secondDeepseek, topk_method: 'noaux_tc' }, 'topk_method: "noaux_tc"'],
    [{ ...oss, layer_types: ['full_attention'] }, 'layer_types: 1 types for 2 layers'],
    [{ ...qwen, mlp_layer_types: ['sparse'] }, 'mlp_layer_types: 1 types for 48 layers'],
    [{ ...oss, layer_types: ['full_attention', 'linear_attention'] }, 'layer_types[1]: "linear_attention"'],
    [{ ...oss, sliding_window: null }, 'sliding_window: is null'],
    [{ ...oss, swiglu_limit: 9 }, 'swiglu_limit: 9 is not what transformers computes for gpt_oss'],
    ['{"model_type": "mixtral"', 'cannot be read as JSON'],
    ['[]', 'a list is not a map'],
  ])('%#', (config, part) => expect(message(config)).toContain(part));
});
