/**
 * Names of Megatron-Bridge and NeMo for what Megatron-LM has flags of: the same fields of the configuration, but for
 * those here (flags.py's exceptions; megatron/bridge/training/{config,comm_overlap}.py at 067f987d, 0.6.2).
 */
import type { SettingValue } from '../megatron/settings.js';

/** Other names of a field. */
export const otherNames: Readonly<Record<string, string>> = {
  num_moe_experts: 'num_experts',
  fp8_param: 'fp8_param_gather',
  virtual_pipeline_model_parallel_size: 'num_virtual_stages_per_pipeline_rank',
  num_layers_in_first_pipeline_stage: 'decoder_first_pipeline_num_layers',
  num_layers_in_last_pipeline_stage: 'decoder_last_pipeline_num_layers',
  average_in_collective: 'ddp_average_in_collective',
  bucket_size: 'ddp_bucket_size',
  gated_linear_unit: 'swiglu',
  activation_checkpoint_granularity: 'recompute_granularity',
  activations_checkpoint_granularity: 'recompute_granularity',
  activations_checkpoint_method: 'recompute_method',
  activations_checkpoint_num_layers: 'recompute_num_layers',
  encoder_seq_length: 'seq_length',
};

/** Fields that say the opposite of Megatron-LM's. */
export const opposites: Readonly<Record<string, string>> = {
  share_embeddings_and_output_weights: 'untie_embeddings_and_output_weights',
};

/** What cfg.comm_overlap takes. */
export const overlapNames: readonly string[] = [
  'tp_comm_overlap',
  'tp_comm_overlap_cfg',
  'tp_comm_bootstrap_backend',
  'overlap_p2p_comm',
  'batch_p2p_comm',
  'overlap_grad_reduce',
  'overlap_param_gather',
  'overlap_param_gather_with_optimizer_step',
  'align_param_gather',
  'bucket_size',
  'defer_embedding_wgrad_compute',
  'wgrad_deferral_limit',
  'overlap_moe_expert_parallel_comm',
  'delay_wgrad_compute',
  'data_parallel_size',
];

/** How long a run is: fields that Megatron-LM has, and Bridge's own. */
export const lengthFields = ['train_iters', 'train_samples', 'num_epochs'] as const;

/** Fields that are looked at though no flag of Megatron-LM sets them. */
export const ownFields: readonly string[] = [...lengthFields, 'packing_buffer_size'];

/** Sections in which an unknown name is looked at: elsewhere stand other programs' names. */
export const checkedSections: readonly string[] = ['model', 'ddp', 'train', 'comm_overlap', 'strategy'];

type Fields = Readonly<Record<string, SettingValue>>;

const bf16: Fields = { bf16: true };

/** Names that cfg.mixed_precision takes (training/mixed_precision.py), as Megatron's fields. */
export const precisionRecipes: Readonly<Record<string, Fields>> = {
  bf16_mixed: bf16,
  'bf16-mixed': bf16,
  fp16_mixed: { fp16: true },
  bf16_with_fp8_delayed_scaling_mixed: { ...bf16, fp8: 'hybrid', fp8_recipe: 'delayed' },
  bf16_with_fp8_current_scaling_mixed: { ...bf16, fp8: 'hybrid', fp8_recipe: 'tensorwise' },
  bf16_with_fp8_subchannel_scaling_mixed: { ...bf16, fp8: 'hybrid', fp8_recipe: 'blockwise' },
  bf16_with_mxfp8_mixed: { ...bf16, fp8: 'e4m3', fp8_recipe: 'mxfp8' },
  bf16_with_nvfp4_mixed: { ...bf16, fp4: 'e2m1', fp4_recipe: 'nvfp4' },
};
