/** Small models of every family, for what is compared between the CPU and a card. */
import type { MoeModel, StepShape } from '@monta/core';
import { readHfConfig } from '@monta/core/model';
import { inChunks, namedStrategies, strategyLabel } from '@monta/core/schedule';

const sizes = {
  vocab_size: 1024,
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  max_position_embeddings: 256,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  initializer_range: 0.05,
  tie_word_embeddings: false,
};

/**
 * One of each family: without a norm of queries and keys, with one over each head, with one over all heads and clipped;
 * with shared experts; with latent attention and experts in groups; with sinks, windows, biases and another activation.
 */
export const smallModels: readonly MoeModel[] = [
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['MixtralForCausalLM'],
      model_type: 'mixtral',
      intermediate_size: 256,
      num_local_experts: 8,
      num_experts_per_tok: 2,
      router_aux_loss_coef: 0.02,
    }),
    'a small Mixtral',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['Qwen3MoeForCausalLM'],
      model_type: 'qwen3_moe',
      head_dim: 32,
      moe_intermediate_size: 64,
      intermediate_size: 256,
      num_experts: 16,
      num_experts_per_tok: 4,
      norm_topk_prob: true,
      router_aux_loss_coef: 0.01,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
    }),
    'a small Qwen3-MoE',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['OlmoeForCausalLM'],
      model_type: 'olmoe',
      intermediate_size: 64,
      num_experts: 16,
      num_experts_per_tok: 4,
      norm_topk_prob: false,
      router_aux_loss_coef: 0.01,
      attention_bias: false,
      clip_qkv: 1,
    }),
    'a small OLMoE',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['Qwen2MoeForCausalLM'],
      model_type: 'qwen2_moe',
      intermediate_size: 256,
      moe_intermediate_size: 64,
      shared_expert_intermediate_size: 96,
      num_experts: 16,
      num_experts_per_tok: 4,
      norm_topk_prob: false,
      router_aux_loss_coef: 0.01,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
      qkv_bias: true,
      use_sliding_window: false,
    }),
    'a small Qwen2-MoE',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['DeepseekV3ForCausalLM'],
      model_type: 'deepseek_v3',
      num_key_value_heads: 8,
      intermediate_size: 256,
      moe_intermediate_size: 64,
      first_k_dense_replace: 1,
      n_routed_experts: 16,
      n_shared_experts: 1,
      num_experts_per_tok: 4,
      n_group: 4,
      topk_group: 2,
      norm_topk_prob: true,
      routed_scaling_factor: 2.5,
      q_lora_rank: 48,
      kv_lora_rank: 32,
      qk_nope_head_dim: 16,
      qk_rope_head_dim: 8,
      v_head_dim: 12,
      rope_interleave: true,
      attention_bias: false,
    }),
    'a small DeepSeek-V3',
  ),
  readHfConfig(
    JSON.stringify({
      ...sizes,
      architectures: ['GptOssForCausalLM'],
      model_type: 'gpt_oss',
      head_dim: 16,
      intermediate_size: 64,
      num_local_experts: 8,
      num_experts_per_tok: 2,
      router_aux_loss_coef: 0.01,
      attention_bias: true,
      sliding_window: 24,
      layer_types: ['sliding_attention', 'full_attention'],
    }),
    'a small gpt-oss',
  ),
];

/** What a step of such a model may have beside. */
export type StepChanges = Partial<Pick<StepShape, 'strategy' | 'capacityFactor' | 'payload' | 'selectionBiasRate'>>;

export interface OtherStep {
  readonly model: MoeModel;
  readonly name: string;
  readonly changes: StepChanges;
}

const [mixtral] = smallModels;
const withoutDuplicates = inChunks(namedStrategies['deduplicated-gathered'], 2);

/** Steps whose kernels the usual one does not launch. */
export const otherSteps: readonly OtherStep[] = [
  ...[withoutDuplicates, inChunks(namedStrategies.gathered, 1)].map((strategy) => ({
    model: mixtral,
    name: strategyLabel(strategy),
    changes: { strategy },
  })),
  { model: mixtral, name: 'capacity factor 0.75', changes: { capacityFactor: 0.75 } },
  { model: mixtral, name: 'rows in fp8', changes: { payload: 'fp8' } },
  {
    model: mixtral,
    name: `rows in fp8, ${strategyLabel(withoutDuplicates)}`,
    changes: { payload: 'fp8', strategy: withoutDuplicates },
  },
  ...smallModels
    .filter(({ selectionBias }) => selectionBias)
    .map((model) => ({ model, name: 'moving selection biases', changes: { selectionBiasRate: 0.001 } })),
];
