/**
 * Families whose experts are spelled in a way of their own (ERNIE 4.5, Phi-3.5-MoE, Granite, Hunyuan), and those
 * without experts.
 */
import type { Field } from '../units/document.js';
import { limits } from '../units/limits.js';
import { anyStep, perLayer } from './huggingface-config.js';
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

/** A decoder without experts. */
const dense = (config: HfConfig, layers: number): FamilyPart => ({
  experts: 0,
  topK: 0,
  expertFfn: 0,
  denseFfn: config.integer('intermediate_size'),
  moeLayers: perLayer(layers, () => false),
  auxLossCoefficient: 0,
});

export const moreFamilies = {
  ernie4_5_moe: { family: 'ernie4_5_moe', ropeTheta: 500_000, tied: true, read: ernie },
  phimoe: { family: 'phimoe', ropeTheta: 10_000, read: phi },
  granitemoe: { family: 'granitemoe', ropeTheta: 10_000, read: granite },
  granitemoeshared: { family: 'granitemoe', ropeTheta: 10_000, read: granite },
  hunyuan_v1_moe: { family: 'hunyuan_v1_moe', ropeTheta: 10_000, read: hunyuan },
  llama: {
    family: 'llama',
    ropeTheta: 10_000,
    read: (config, layers) => ({ ...dense(config, layers), feedForwardBias: config.booleanOr(false, 'mlp_bias') }),
  },
  mistral: { family: 'mistral', ropeTheta: 10_000, read: dense },
  qwen2: {
    family: 'qwen2',
    ropeTheta: 10_000,
    read: (config, layers) => ({ ...dense(config, layers), attentionBias: 'queryKeyValue' }),
  },
  qwen3: {
    family: 'qwen3',
    ropeTheta: 10_000,
    read: (config, layers) => ({ ...dense(config, layers), qkNorm: 'perHead' }),
  },
} satisfies Readonly<Record<string, FamilyReader>>;
