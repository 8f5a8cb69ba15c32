/**
 * Families whose experts are spelled in a way of their own (ERNIE 4.5, Phi-3.5-MoE, Granite, Hunyuan, Ling, Grok-1).
 */
import type { Field } from '../units/documents/index.js';
import { limits } from '../units/limits.js';
import { anyStep, perLayer, rotaryDimOf } from './huggingface-config.js';
import type { FamilyPart, FamilyReader, HfConfig } from './huggingface-config.js';

/** ERNIE 4.5: experts from one layer to another, every so many; shared experts beside them. */
function ernie(config: HfConfig, layers: number): FamilyPart {
  const first = config.countOr(1, 'moe_layer_start_index');
  const stated = config.find('moe_layer_end_index')?.integer({ min: -1, max: limits.layers }) ?? -1;
  const last = stated < 0 ? layers - 1 : stated;
  const step = config.find('moe_layer_interval')?.integer(anyStep) ?? 1;
  const moeLayers = perLayer(layers, (i) => i >= first && i <= last && (i + 1) % step === 0);
  const expertFfn = config.integer('moe_intermediate_size');
  return {
    experts: config.integer('moe_num_experts'),
    topK: config.integer('moe_k'),
    expertFfn,
    sharedExpertFfn: config.countOr(2, 'moe_num_shared_experts') * expertFfn,
    denseFfn: moeLayers.includes(false) ? config.integer('intermediate_size') : config.countOr(0, 'intermediate_size'),
    moeLayers,
    attentionBias: config.booleanOr(false, 'use_bias') ? 'all' : 'none',
    auxLossCoefficient: config.numberOr(0.001, 'router_aux_loss_coef'),
  };
}

/** Phi-3.5-MoE: LayerNorms, and biases of attention and output. */
const phi = (config: HfConfig): FamilyPart => ({
  experts: config.integer('num_local_experts'),
  topK: config.integer('num_experts_per_tok'),
  expertFfn: config.integer('intermediate_size'),
  normTopK: false,
  normBias: true,
  outputBias: config.booleanOr(false, 'lm_head_bias'),
  auxLossCoefficient: config.numberOr(0, 'router_aux_loss_coef'),
});

/** Granite 3: Mixtral's kind, with a shared expert in later ones. */
const granite = (config: HfConfig): FamilyPart => ({
  experts: config.integer('num_local_experts'),
  topK: config.integer('num_experts_per_tok'),
  expertFfn: config.integer('intermediate_size'),
  sharedExpertFfn: config.countOr(0, 'shared_intermediate_size'),
  auxLossCoefficient: config.numberOr(0.001, 'router_aux_loss_coef'),
});

/** A number, or a list with one for each layer that must all be the same: a shape here has one. */
function same(field: Field): number {
  if (!Array.isArray(field.value)) return field.integer({ min: 0, max: limits.width });
  const values = field.list(0, limits.layers).map((one) => one.integer({ min: 0, max: limits.width }));
  const [first = 0] = values;
  if (values.every((value) => value === first)) return first;
  throw field.error('differs between layers', {
    expected: 'one value for all layers; others cannot be described here',
  });
}

/** Hunyuan-A13B: sizes may be lists over layers; norms on queries and keys. */
function hunyuan(config: HfConfig): FamilyPart {
  const expertFfn = same(config.need('moe_intermediate_size', 'intermediate_size'));
  const shared = config.find('num_shared_expert');
  return {
    experts: same(config.need('num_experts')),
    topK: same(config.need('moe_topk')),
    expertFfn,
    sharedExpertFfn: (shared === undefined ? 0 : same(shared)) * expertFfn,
    qkNorm: config.booleanOr(false, 'use_qk_norm') ? 'perHead' : 'none',
  };
}

/**
 * Ling and Ring: DeepSeek's kind of layers with grouped queries. The first version scores with a softmax; the second
 * has sigmoids, a bias of selection, groups, and norms on queries and keys.
 */
function bailing(config: HfConfig, layers: number): FamilyPart {
  const second = config.modelType === 'bailing_moe_v2';
  if (config.booleanOr(false, 'multi_gate'))
    throw config.need('multi_gate').error('is on: each kind of input has a router of its own', {
      expected: 'one router a layer; others cannot be described here',
    });
  const dense = config.countOr(0, 'first_k_dense_replace');
  const expertFfn = config.integer('moe_intermediate_size');
  const [groups, chosen] = [config.countOr(second ? 8 : 1, 'n_group'), config.countOr(second ? 4 : 1, 'topk_group')];
  const biased = config.booleanOr(false, 'use_bias');
  const scoring = config.find('score_function')?.oneOf(['softmax', 'sigmoid']) ?? (second ? 'sigmoid' : 'softmax');
  return {
    experts: config.integer('num_experts'),
    topK: config.integer('num_experts_per_tok'),
    expertFfn,
    sharedExpertFfn: config.countOr(
      config.countOr(0, 'num_shared_experts') * expertFfn,
      'moe_shared_expert_intermediate_size',
    ),
    denseFfn: dense > 0 ? config.integer('intermediate_size') : config.countOr(0, 'intermediate_size'),
    moeLayers: perLayer(layers, (i) => i >= dense),
    scoring,
    normTopK: config.booleanOr(true, 'norm_topk_prob'),
    routedScaling: config.positiveOr(1, 'routed_scaling_factor'),
    selectionBias: second && config.booleanOr(true, 'moe_router_enable_expert_bias'),
    ...(groups > 1 ? { expertGroups: { groups, chosen, by: 'twoLargest' as const } } : {}),
    auxLossCoefficient: config.numberOr(0, 'router_aux_loss_coef'),
    auxLoss: 'none',
    qkNorm: config.booleanOr(second, 'use_qk_norm') ? 'perHead' : 'none',
    attentionBias: biased ? 'all' : config.booleanOr(false, 'use_qkv_bias') ? 'queryKeyValue' : 'none',
    multiTokenLayers: config.countOr(0, 'num_nextn_predict_layers'),
    rmsNormEps: config.positiveOr(1e-6, 'rms_norm_eps'),
    ...rotaryDimOf(config, 1),
  };
}

/** Grok-1, as hpcai-tech wrote it for transformers: norms before and behind, experts with GELU. */
function grok(config: HfConfig): FamilyPart {
  if (config.booleanOr(false, 'residual_moe'))
    throw config.need('residual_moe').error('is on: a dense feed-forward beside the experts of every layer', {
      expected: 'experts alone; others cannot be described here',
    });
  return {
    experts: config.integer('num_experts', 'num_local_experts'),
    topK: config.integer('num_experts_per_tok'),
    expertFfn: config.integer('moe_intermediate_size', 'intermediate_size'),
    activation: 'gelu',
    postNorms: true,
    normTopK: false,
    auxLossCoefficient: config.numberOr(0.001, 'router_aux_loss_coef'),
  };
}

export const moreFamilies = {
  ernie4_5_moe: { family: 'ernie4_5_moe', ropeTheta: 500_000, tied: true, read: ernie },
  phimoe: { family: 'phimoe', ropeTheta: 1e6, read: phi },
  granitemoe: { family: 'granitemoe', ropeTheta: 10_000, read: granite },
  granitemoeshared: { family: 'granitemoe', ropeTheta: 10_000, read: granite },
  hunyuan_v1_moe: { family: 'hunyuan_v1_moe', ropeTheta: 10_000, read: hunyuan },
  bailing_moe: { family: 'bailing_moe', ropeTheta: 10_000, read: bailing },
  bailing_moe_v2: { family: 'bailing_moe', ropeTheta: 600_000, read: bailing },
  grok: { family: 'grok', ropeTheta: 10_000, tied: true, read: grok },
} satisfies Readonly<Record<string, FamilyReader>>;
