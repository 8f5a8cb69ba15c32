/** Which part of Megatron-Bridge's configuration a field stands in (megatron/bridge/training/config.py). */

/** Fields that are not the model's. */
const sections: Readonly<Record<string, string>> = {
  micro_batch_size: 'train',
  global_batch_size: 'train',
  train_iters: 'train',
  train_samples: 'train',
  seq_length: 'dataset',
  use_distributed_optimizer: 'ddp',
  overlap_grad_reduce: 'ddp',
  overlap_param_gather: 'ddp',
  use_megatron_fsdp: 'dist',
  data_parallel_sharding_strategy: 'ddp',
  ddp_average_in_collective: 'ddp',
  ckpt_format: 'checkpoint',
  save: 'checkpoint',
  optimizer: 'optimizer',
  use_precision_aware_optimizer: 'optimizer',
  exp_avg_dtype: 'optimizer',
  exp_avg_sq_dtype: 'optimizer',
  tp_comm_overlap: 'comm_overlap',
  overlap_p2p_comm: 'comm_overlap',
  align_param_gather: 'comm_overlap',
  overlap_moe_expert_parallel_comm: 'comm_overlap',
  delay_wgrad_compute: 'comm_overlap',
};

/** Parts of the configuration, in the order in which they are written. */
export const bridgeSections = ['model', 'train', 'dataset', 'ddp', 'dist', 'optimizer', 'comm_overlap', 'checkpoint'];

export const sectionOfField = (field: string): string => sections[field] ?? 'model';
