/** What a `config.json` of each family may say, and no more: strict schemas for the tests of what is written. */
import { z } from 'zod';

const count = z.number().int().nonnegative();
const common = {
  architectures: z.array(z.string()).length(1),
  attention_dropout: z.number(),
  bos_token_id: count.nullable(),
  eos_token_id: count.nullable(),
  hidden_act: z.literal('silu'),
  hidden_size: count.positive(),
  initializer_range: z.number(),
  max_position_embeddings: count.positive(),
  num_attention_heads: count.positive(),
  num_experts_per_tok: count.positive(),
  num_hidden_layers: count.positive(),
  num_key_value_heads: count.positive(),
  output_router_logits: z.boolean(),
  pad_token_id: count.nullable(),
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive(),
  router_aux_loss_coef: z.number(),
  tie_word_embeddings: z.boolean(),
  torch_dtype: z.enum(['float32', 'bfloat16', 'float16']),
  use_cache: z.boolean(),
  vocab_size: count.positive(),
};
/**
 * The arguments of the configuration classes of transformers 4.57 (configuration_mixtral.py, _qwen3_moe.py, _olmoe.py),
 * no others.
 */
export const configSchemas = {
  mixtral: z.strictObject({
    ...common,
    model_type: z.literal('mixtral'),
    head_dim: count.positive().nullable(),
    intermediate_size: count.positive(),
    num_local_experts: count.positive(),
    router_jitter_noise: z.number(),
    sliding_window: count.positive().nullable(),
  }),
  qwen3_moe: z.strictObject({
    ...common,
    model_type: z.literal('qwen3_moe'),
    attention_bias: z.boolean(),
    decoder_sparse_step: count.positive(),
    head_dim: count.positive(),
    intermediate_size: count.positive(),
    max_window_layers: count,
    mlp_only_layers: z.array(count),
    moe_intermediate_size: count.positive(),
    norm_topk_prob: z.boolean(),
    num_experts: count.positive(),
    sliding_window: count.positive().nullable(),
    use_sliding_window: z.boolean(),
  }),
  olmoe: z.strictObject({
    ...common,
    model_type: z.literal('olmoe'),
    attention_bias: z.boolean(),
    clip_qkv: z.number().nullable(),
    intermediate_size: count.positive(),
    norm_topk_prob: z.boolean(),
    num_experts: count.positive(),
  }),
};
