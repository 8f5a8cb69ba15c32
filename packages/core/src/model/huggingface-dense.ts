/**
 * Decoders without experts, which a planner compares with. Defaults are those of the configuration classes of
 * transformers, or of the files that come with a model. Two layouts of norms and biases: Llama's (RMS norms, three
 * matrices, no biases) and GPT's (LayerNorms, two matrices, biases everywhere).
 */
import { perLayer, rotaryDimOf } from './huggingface-config.js';
import type { FamilyPart, FamilyReader, HfConfig } from './huggingface-config.js';

const without = (layers: number, denseFfn: number): FamilyPart => ({
  experts: 0,
  topK: 0,
  expertFfn: 0,
  denseFfn,
  moeLayers: perLayer(layers, () => false),
  auxLossCoefficient: 0,
});

const dense = (config: HfConfig, layers: number): FamilyPart => without(layers, config.integer('intermediate_size'));

type Change = (config: HfConfig, layers: number) => Partial<FamilyPart>;

/** Llama's decoder with some things changed. */
const changed =
  (change: Change) =>
  (config: HfConfig, layers: number): FamilyPart => ({ ...dense(config, layers), ...change(config, layers) });

/** GPT-2's decoder by the names that a family has for its sizes. */
function gpt(config: HfConfig, layers: number, ffn: number, positions: number): FamilyPart {
  return {
    ...without(layers, ffn),
    gated: false,
    activation: config.find('activation_function')?.string() ?? 'gelu',
    attentionBias: 'all',
    feedForwardBias: true,
    normBias: true,
    learnedPositions: positions,
  };
}

/** GPT-2 and StarCoder (one key and value for all heads). */
function secondGpt(config: HfConfig, layers: number): FamilyPart {
  const ffn = config.countOr(4 * config.integer('n_embd', 'hidden_size'), 'n_inner');
  const shared = config.booleanOr(false, 'multi_query');
  return {
    ...gpt(config, layers, ffn, config.integer('n_positions', 'n_ctx')),
    ...(shared ? { keyValueHeads: 1 } : {}),
  };
}

/** OPT: two rows of positions more than there are. */
function opt(config: HfConfig, layers: number): FamilyPart {
  const projected = config.find('word_embed_proj_dim');
  if (projected !== undefined && projected.value !== config.integer('hidden_size'))
    throw projected.error('is not the hidden size: embeddings that are projected cannot be described here', {
      expected: 'the hidden size',
    });
  return {
    ...gpt(config, layers, config.integer('ffn_dim'), config.integer('max_position_embeddings') + 2),
    activation: config.find('activation_function')?.string() ?? 'relu',
  };
}

/** ChatGLM 2 and 3, and GLM-4 in the files of its own code. */
function chatGlm(config: HfConfig, layers: number): FamilyPart {
  const heads = config.integer('num_attention_heads');
  const headDim = config.countOr(config.integer('hidden_size') / heads, 'kv_channels');
  return {
    ...without(layers, config.integer('ffn_hidden_size')),
    headDim,
    keyValueHeads: config.booleanOr(false, 'multi_query_attention') ? config.integer('multi_query_group_num') : heads,
    attentionBias: config.booleanOr(false, 'add_qkv_bias') ? 'queryKeyValue' : 'none',
    rotaryDim: headDim / 2,
    ropeInterleaved: true,
  };
}

/** MiniCPM3: DeepSeek's latent attention. */
function thirdMiniCpm(config: HfConfig): Partial<FamilyPart> {
  const heads = config.integer('num_attention_heads');
  const valueHeadDim = config.countOr(config.integer('hidden_size') / heads, 'v_head_dim');
  return {
    headDim: valueHeadDim,
    keyValueHeads: heads,
    latentAttention: {
      queryRank: config.integer('q_lora_rank'),
      keyValueRank: config.integer('kv_lora_rank'),
      nopeHeadDim: config.integer('qk_nope_head_dim'),
      ropeHeadDim: config.integer('qk_rope_head_dim'),
      valueHeadDim,
    },
  };
}

/** Biases of query, key and value where `key` says so, and of the output besides where `all` does. */
const biases = (config: HfConfig, key: string, all: string): Partial<FamilyPart> => ({
  attentionBias: config.booleanOr(false, all) ? 'all' : config.booleanOr(false, key) ? 'queryKeyValue' : 'none',
});

const glm = (config: HfConfig): Partial<FamilyPart> => ({
  attentionBias: config.booleanOr(false, 'attention_bias') ? 'queryKeyValue' : 'none',
  ropeInterleaved: true,
  ...rotaryDimOf(config, 0.5),
});

const stableLm: Change = (config) => {
  if (config.booleanOr(false, 'use_parallel_residual'))
    throw config.need('use_parallel_residual').error('is on: attention and feed-forward side by side', {
      expected: 'one behind the other; others cannot be described here',
    });
  return {
    ...biases(config, 'use_qkv_bias', 'use_bias'),
    normBias: true,
    qkNorm: config.booleanOr(false, 'qk_layernorm') ? 'allHeads' : 'none',
    ...rotaryDimOf(config, 0.25),
  };
};

/** Qwen of 2023: one width for gate and up together, and no group of heads. */
const firstQwen = (config: HfConfig, layers: number): FamilyPart => ({
  ...without(layers, config.integer('intermediate_size') / 2),
  attentionBias: config.booleanOr(true, 'no_bias') ? 'queryKeyValue' : 'all',
  keyValueHeads: config.integer('num_attention_heads'),
});

const starCoder: Change = (config) => ({
  gated: false,
  ...(config.booleanOr(true, 'use_bias')
    ? { attentionBias: 'all' as const, feedForwardBias: true }
    : { attentionBias: 'none' as const }),
  normBias: true,
});

const llama: Change = (config) => ({ feedForwardBias: config.booleanOr(false, 'mlp_bias') });
const none: Change = () => ({});
const withoutGate: Change = (config) => ({ gated: false, ...llama(config, 0) });

export const denseFamilies = {
  llama: { family: 'llama', ropeTheta: 10_000, read: changed(llama) },
  mistral: {
    family: 'mistral',
    ropeTheta: 10_000,
    read: changed(() => ({ attentionBias: 'none' })),
  },
  qwen: { family: 'dense', ropeTheta: 10_000, read: firstQwen },
  qwen2: { family: 'qwen2', ropeTheta: 10_000, read: changed(() => ({ attentionBias: 'queryKeyValue' })) },
  qwen3: { family: 'qwen3', ropeTheta: 10_000, read: changed(() => ({ qkNorm: 'perHead' })) },
  mimo: {
    family: 'dense',
    ropeTheta: 640_000,
    read: changed((config) => ({
      attentionBias: 'queryKeyValue',
      multiTokenLayers: config.countOr(0, 'num_nextn_predict_layers'),
    })),
  },
  internlm: { family: 'dense', ropeTheta: 10_000, read: changed((c) => biases(c, 'bias', 'bias')) },
  internlm2: { family: 'dense', ropeTheta: 10_000, read: changed((c) => biases(c, 'bias', 'bias')) },
  internlm3: { family: 'dense', ropeTheta: 10_000, read: changed((c) => biases(c, 'qkv_bias', 'bias')) },
  seed_oss: {
    family: 'dense',
    ropeTheta: 10_000,
    read: changed((c) => biases(c, 'attention_bias', 'attention_out_bias')),
  },
  ernie4_5: {
    family: 'dense',
    ropeTheta: 500_000,
    tied: true,
    read: changed((c) => ({ ...biases(c, 'use_bias', 'use_bias'), ropeInterleaved: true })),
  },
  hunyuan_v1_dense: {
    family: 'dense',
    ropeTheta: 10_000,
    read: changed((c) => ({ qkNorm: c.booleanOr(true, 'use_qk_norm') ? 'perHead' : 'none' })),
  },
  glm: { family: 'dense', ropeTheta: 10_000, read: changed(glm) },
  glm4: { family: 'dense', ropeTheta: 10_000, read: changed((c) => ({ ...glm(c), postNorms: true })) },
  chatglm: { family: 'dense', ropeTheta: 10_000, read: chatGlm },
  granite: { family: 'dense', ropeTheta: 10_000, read: changed(llama) },
  smollm3: { family: 'dense', ropeTheta: 2_000_000, tied: true, read: changed(llama) },
  minicpm: { family: 'dense', ropeTheta: 10_000, tied: true, read: changed(none) },
  minicpm3: { family: 'dense', ropeTheta: 10_000, tied: true, read: changed(thirdMiniCpm) },
  exaone: { family: 'dense', ropeTheta: 10_000, read: changed(none) },
  baichuan: { family: 'dense', ropeTheta: 10_000, read: changed(none) },
  stablelm: { family: 'dense', ropeTheta: 10_000, read: changed(stableLm) },
  apertus: {
    family: 'dense',
    ropeTheta: 12_000_000,
    read: changed((c) => ({ gated: false, qkNorm: c.booleanOr(true, 'qk_norm') ? 'perHead' : 'none' })),
  },
  arcee: { family: 'dense', ropeTheta: 10_000, read: changed(withoutGate) },
  nemotron: {
    family: 'nemotron',
    ropeTheta: 10_000,
    read: changed((c) => ({ ...withoutGate(c, 0), normBias: true, ...rotaryDimOf(c, 0.5) })),
  },
  starcoder2: { family: 'dense', ropeTheta: 10_000, tied: true, read: changed(starCoder) },
  gpt2: { family: 'gpt', ropeTheta: 10_000, tied: true, read: secondGpt },
  gpt_bigcode: { family: 'gpt', ropeTheta: 10_000, tied: true, read: secondGpt },
  opt: { family: 'gpt', ropeTheta: 10_000, tied: true, read: opt },
} satisfies Readonly<Record<string, FamilyReader>>;
