/**
 * How each family of Mixture-of-Experts models spells its experts in a Hugging Face `config.json`. `intermediate_size`
 * is the expert's width in Mixtral, OLMoE, gpt-oss, Llama 4 and MiniMax, the dense layers' elsewhere. Defaults are
 * those of the family's configuration class in transformers.
 */
import { limits } from '../units/limits.js';
import { anyStep, perLayer, rotaryDimOf } from './huggingface-config.js';
import type { FamilyPart, FamilyReader, HfConfig } from './huggingface-config.js';
import { scoreScalingOf } from './huggingface-rope.js';
import { yarnScaling } from './rope-scaling.js';
import { denseFamilies } from './huggingface-dense.js';
import { moreFamilies } from './huggingface-more.js';

const expertNames = ['num_local_experts', 'num_experts', 'n_routed_experts'];

/** Mixtral's and OLMoE's kind: every layer has experts of `intermediate_size`. */
const plain = (config: HfConfig): FamilyPart => ({
  experts: config.integer(...expertNames),
  topK: config.integer('num_experts_per_tok', 'experts_per_token'),
  expertFfn: config.integer('intermediate_size'),
});

/** Qwen's: `mlp_only_layers` are dense, and of the others every `decoder_sparse_step`-th has experts. */
function qwen(config: HfConfig, layers: number): FamilyPart {
  const step = config.find('decoder_sparse_step')?.integer(anyStep) ?? 1;
  const only = config.layerNumbers('mlp_only_layers', layers) ?? [];
  const moeLayers = perLayer(layers, (i) => !only.includes(i) && (i + 1) % step === 0);
  return {
    experts: config.integer(...expertNames),
    topK: config.integer('num_experts_per_tok'),
    expertFfn: config.integer('moe_intermediate_size'),
    denseFfn: moeLayers.includes(false) ? config.integer('intermediate_size') : config.countOr(0, 'intermediate_size'),
    moeLayers,
    normTopK: config.booleanOr(false, 'norm_topk_prob'),
    auxLossCoefficient: config.numberOr(0.001, 'router_aux_loss_coef'),
    rmsNormEps: config.positiveOr(1e-6, 'rms_norm_eps'),
  };
}

interface DeepSeekDefaults {
  readonly shared: number;
  readonly dense: number;
  readonly groups: number;
  readonly chosen: number;
  readonly scaling: number;
  readonly epsilon: number;
  /** Whether weights are scaled to sum to one; they are when left out. */
  readonly normed?: boolean;
}

const noGroups = { groups: 1, chosen: 1 } as const;

/** What the configuration classes of transformers 5.17 fill in; the files of others (Kimi) say it all. */
const deepseekDefaults: Readonly<Record<string, DeepSeekDefaults>> = {
  deepseek_v2: { shared: 2, dense: 0, ...noGroups, scaling: 1, epsilon: 1e-6 },
  deepseek_v3: { shared: 1, dense: 3, groups: 8, chosen: 4, scaling: 2.5, epsilon: 1e-6 },
  glm4_moe: { shared: 1, dense: 1, ...noGroups, scaling: 1, epsilon: 1e-5 },
  dots1: { shared: 0, dense: 0, ...noGroups, scaling: 1, epsilon: 1e-6, normed: false },
  glm4_moe_lite: { shared: 1, dense: 1, ...noGroups, scaling: 1.8, epsilon: 1e-5 },
};
const otherDefaults: DeepSeekDefaults = { shared: 0, dense: 0, ...noGroups, scaling: 1, epsilon: 1e-6 };

/** Methods of choosing experts that transformers' DeepSeek-V2 has. */
const secondMethods = ['greedy', 'group_limited_greedy'] as const;

/** DeepSeek-V2 has groups with one method of choosing only; a single group is none. */
function groupsOf(config: HfConfig, usual: DeepSeekDefaults): Pick<FamilyPart, 'expertGroups'> {
  const [groups, chosen] = [config.countOr(usual.groups, 'n_group'), config.countOr(usual.chosen, 'topk_group')];
  const second = config.modelType === 'deepseek_v2';
  const method = second ? (config.find('topk_method')?.oneOf(secondMethods) ?? 'greedy') : '';
  if (groups <= 1 || (second && method !== 'group_limited_greedy')) return {};
  return { expertGroups: { groups, chosen, by: second ? 'largest' : 'twoLargest' } };
}

/** Families that come with code of their own, which looks at keys that transformers' classes leave out. */
const ownCode = new Set(['deepseek', 'kimi_k2']);

/**
 * Refuses what would be computed otherwise than it is written: transformers has one way to score for each of these
 * families, no step between layers with experts, and no place for null.
 */
function checkDeepseek(config: HfConfig): 'softmax' | 'sigmoid' {
  const scoring = config.modelType === 'deepseek_v2' || config.modelType === 'deepseek' ? 'softmax' : 'sigmoid';
  config.refuseOther('scoring_func', scoring, `experts are always scored by ${scoring}`);
  const numbers = ['first_k_dense_replace', 'routed_scaling_factor', 'num_experts_per_tok'];
  config.refuseNull(numbers, 'a number');
  if (ownCode.has(config.modelType)) return scoring;
  config.refuseNull(['n_shared_experts'], 'a number of experts that every token visits, from 0 on');
  // The files of dots.llm1 themselves have null for no groups.
  if (config.modelType !== 'deepseek_v2' && config.modelType !== 'dots1') {
    config.refuseNull(['n_group', 'topk_group'], 'a number of groups, 1 for none');
    config.refuseNull(['norm_topk_prob'], 'true or false');
  }
  config.refuseOther('moe_layer_freq', 1, 'every layer behind the dense ones has experts');
  return scoring;
}

/** DeepSeek's: the first layers dense, shared experts beside the routed ones. */
function deepseek(config: HfConfig, layers: number): FamilyPart {
  const usual = deepseekDefaults[config.modelType] ?? otherDefaults;
  const scoring = checkDeepseek(config);
  const dense = config.countOr(usual.dense, 'first_k_dense_replace');
  const step = config.find('moe_layer_freq')?.integer(anyStep) ?? 1;
  const expertFfn = config.integer('moe_intermediate_size');
  return {
    experts: config.integer(...expertNames),
    topK: config.integer('num_experts_per_tok'),
    expertFfn,
    sharedExpertFfn: config.countOr(usual.shared, 'n_shared_experts') * expertFfn,
    denseFfn: dense > 0 || step > 1 ? config.integer('intermediate_size') : config.countOr(0, 'intermediate_size'),
    moeLayers: perLayer(layers, (i) => i >= dense && i % step === 0),
    scoring,
    // transformers' DeepSeek-V2 does not look at norm_topk_prob.
    normTopK: config.modelType !== 'deepseek_v2' && config.booleanOr(usual.normed ?? true, 'norm_topk_prob'),
    routedScaling: config.positiveOr(usual.scaling, 'routed_scaling_factor'),
    auxLossCoefficient: config.numberOr(0, 'aux_loss_alpha', 'router_aux_loss_coef'),
    auxLoss: 'none',
    selectionBias: config.modelType !== 'deepseek_v2',
    ...groupsOf(config, usual),
    multiTokenLayers: config.countOr(0, 'num_nextn_predict_layers', 'num_mtp_layers'),
    rmsNormEps: config.positiveOr(usual.epsilon, 'rms_norm_eps'),
  };
}

function latent(config: HfConfig, layers: number): FamilyPart {
  const queryRank = config.find('q_lora_rank')?.integer({ min: 1, max: limits.width });
  const [nopeHeadDim, valueHeadDim] = [config.integer('qk_nope_head_dim'), config.integer('v_head_dim')];
  return {
    ...deepseek(config, layers),
    headDim: valueHeadDim,
    // Latent attention has a key and a value per head, whatever num_key_value_heads says.
    keyValueHeads: config.integer('num_attention_heads'),
    feedForwardBias: config.modelType === 'deepseek_v2' && config.booleanOr(false, 'mlp_bias'),
    ropeInterleaved: config.modelType === 'deepseek_v2' || config.booleanOr(true, 'rope_interleave'),
    scoreScaling: scoreScalingOf(config),
    latentAttention: {
      ...(queryRank === undefined ? {} : { queryRank }),
      keyValueRank: config.integer('kv_lora_rank'),
      nopeHeadDim,
      ropeHeadDim: config.integer('qk_rope_head_dim'),
      valueHeadDim,
    },
  };
}

/** dots.llm1: DeepSeek-V3's router on layers with keys and values for every head. */
function dots(config: HfConfig, layers: number): FamilyPart {
  config.need('n_shared_experts');
  return { ...deepseek(config, layers), qkNorm: 'perHead' };
}

/** DeepSeekMoE (arXiv 2401.06066): a softmax, no groups and no bias of selection. */
const firstDeepseek = (config: HfConfig, layers: number): FamilyPart => ({
  ...deepseek(config, layers),
  normTopK: config.booleanOr(false, 'norm_topk_prob'),
  selectionBias: false,
});

function dbrx(config: HfConfig): FamilyPart {
  const [ffn, attention] = [config.nested('ffn_config'), config.nested('attn_config')];
  const clip = attention.find('clip_qkv')?.number({ above: 0 });
  return {
    experts: ffn.integer('moe_num_experts'),
    topK: ffn.integer('moe_top_k'),
    expertFfn: ffn.integer('ffn_hidden_size'),
    normTopK: ffn.find('moe_normalize_expert_weights') !== undefined,
    auxLossCoefficient: ffn.numberOr(0.01, 'moe_loss_weight'),
    keyValueHeads: attention.integer('kv_n_heads'),
    ropeTheta: attention.positiveOr(10_000, 'rope_theta'),
    ...(clip === undefined ? {} : { clipQkv: clip }),
  };
}

function llama4(config: HfConfig, layers: number): FamilyPart {
  const step = config.find('interleave_moe_layer_step')?.integer(anyStep) ?? 1;
  const listed = config.layerNumbers('moe_layers', layers);
  const moeLayers = perLayer(layers, (i) => listed?.includes(i) ?? (i + 1) % step === 0);
  const expertFfn = config.integer('intermediate_size');
  return {
    ...plain(config),
    sharedExpertFfn: expertFfn,
    denseFfn: moeLayers.includes(false)
      ? config.integer('intermediate_size_mlp')
      : config.countOr(0, 'intermediate_size_mlp'),
    moeLayers,
    scoring: 'sigmoid',
    normTopK: false,
    auxLossCoefficient: config.numberOr(0.001, 'router_aux_loss_coef'),
  };
}

/** Constants of transformers' GptOssExperts. Later versions read them from the file, earlier ones do not. */
const clampedSwiglu = { alpha: 1.702, limit: 7 } as const;

/** Rotation of gpt-oss where the file says nothing of it. */
const gptOssRope = { factor: 32, originalPositions: 4096, betaFast: 32, betaSlow: 1, truncate: false } as const;

function gptOss(config: HfConfig): FamilyPart {
  const { alpha, limit } = clampedSwiglu;
  const versions = 'its versions differ, and those up to 5.17 do not read it';
  config.refuseOther('swiglu_alpha', alpha, versions);
  config.refuseOther('swiglu_limit', limit, versions);
  const rotates = config.rotary() !== undefined;
  return {
    ...plain(config),
    headDim: config.countOr(64, 'head_dim'),
    expertBias: true,
    attentionSinks: true,
    attentionBias: config.booleanOr(true, 'attention_bias') ? 'all' : 'none',
    clampedSwiglu,
    auxLossCoefficient: config.numberOr(0.9, 'router_aux_loss_coef'),
    ...(rotates ? {} : { ropeType: 'yarn', ropeScaling: yarnScaling(gptOssRope) }),
  };
}

export const familyReaders: Readonly<Record<string, FamilyReader>> = {
  mixtral: {
    family: 'mixtral',
    ropeTheta: 1e6,
    keyValueHeads: 8,
    read: (c) => ({
      ...plain(c),
      attentionBias: 'none',
      auxLossCoefficient: c.numberOr(0.001, 'router_aux_loss_coef'),
    }),
  },
  olmoe: {
    family: 'olmoe',
    ropeTheta: 10_000,
    read: (c) => ({
      ...plain(c),
      normTopK: c.booleanOr(false, 'norm_topk_prob'),
      auxLossCoefficient: c.numberOr(0.01, 'router_aux_loss_coef'),
      qkNorm: 'allHeads',
    }),
  },
  qwen2_moe: {
    family: 'qwen2_moe',
    ropeTheta: 10_000,
    keyValueHeads: 16,
    read: (c, layers) => ({
      ...qwen(c, layers),
      sharedExpertFfn: c.integer('shared_expert_intermediate_size'),
      sharedExpertGate: true,
      attentionBias: c.booleanOr(true, 'qkv_bias') ? 'queryKeyValue' : 'none',
    }),
  },
  qwen3_moe: {
    family: 'qwen3_moe',
    ropeTheta: 10_000,
    keyValueHeads: 4,
    read: (c, layers) => ({ ...qwen(c, layers), qkNorm: 'perHead' }),
  },
  deepseek: { family: 'deepseek', ropeTheta: 10_000, read: firstDeepseek },
  dots1: { family: 'dots1', ropeTheta: 10_000, keyValueHeads: 32, read: dots },
  deepseek_v2: { family: 'deepseek_v2', ropeTheta: 10_000, read: latent },
  deepseek_v3: { family: 'deepseek_v3', ropeTheta: 10_000, read: latent },
  kimi_k2: { family: 'kimi_k2', ropeTheta: 10_000, read: latent },
  glm4_moe: {
    family: 'glm4_moe',
    ropeTheta: 10_000,
    keyValueHeads: 8,
    read: (c, layers) => ({
      ...deepseek(c, layers),
      qkNorm: c.booleanOr(false, 'use_qk_norm') ? 'perHead' : 'none',
      attentionBias: c.booleanOr(false, 'attention_bias') ? 'queryKeyValue' : 'none',
      ...rotaryDimOf(c, 0.5),
    }),
  },
  glm4_moe_lite: { family: 'glm4_moe_lite', ropeTheta: 10_000, read: latent },
  ...moreFamilies,
  ...denseFamilies,
  dbrx: { family: 'dbrx', ropeTheta: 10_000, read: dbrx },
  gpt_oss: {
    family: 'gpt_oss',
    ropeTheta: 150_000,
    keyValueHeads: 8,
    read: gptOss,
  },
  llama4: { family: 'llama4', ropeTheta: 500_000, keyValueHeads: 8, read: llama4 },
  minimax_m2: {
    family: 'minimax_m2',
    ropeTheta: 5_000_000,
    read: (c) => ({
      ...plain(c),
      ...rotaryDimOf(c, 1),
      sharedExpertFfn: c.countOr(0, 'shared_intermediate_size'),
      scoring: 'sigmoid',
      qkNorm: c.booleanOr(false, 'use_qk_norm') ? 'allHeads' : 'none',
      auxLossCoefficient: c.numberOr(0.001, 'router_aux_loss_coef'),
      multiTokenLayers: c.booleanOr(false, 'use_mtp') ? c.countOr(0, 'num_mtp_modules') : 0,
    }),
  },
};
