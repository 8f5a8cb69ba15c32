/**
 * Rules about recompute, offload, sharding and CUDA graphs (megatron/training/arguments.py,
 * core/transformer/transformer_config.py).
 */
import { broken, type Rule } from './rule.js';
import type { MegatronRun } from './run.js';

const recomputeModules = [
  'core_attn',
  'moe_act',
  'layernorm',
  'mla_up_proj',
  'mlp',
  'moe',
  'shared_experts',
  'gdn_norm_out',
  'gdp_in_proj',
  'gdp_qkv',
  'mhc',
];
const offloadModules = [
  'core_attn',
  'attn_proj',
  'expert_fc1',
  'fused_group_mlp',
  'moe_act',
  'attn_norm',
  'mlp_norm',
  'qkv_linear',
  'gdp_qkv',
];
const graphModules = ['attn', 'mlp', 'moe', 'moe_router', 'moe_preprocess', 'mamba'];

const gathers = (run: MegatronRun): boolean => (run.weightShards ?? 1) > 1 || (run.expertWeightShards ?? 1) > 1;

const recomputeRules: readonly Rule[] = [
  {
    id: 'full-recompute',
    severity: 'error',
    fields: ['recompute_granularity'],
    check: (run) => {
      const missing = ['recompute_method', 'recompute_num_layers'].filter((field) => !run.given(field));
      return run.text('recompute_granularity') === 'full' && missing.length > 0
        ? broken(
            'full recompute without its method or its number of layers',
            'add --recompute-method uniform --recompute-num-layers 1',
          )
        : undefined;
    },
  },
  {
    id: 'selective-recompute',
    severity: 'error',
    fields: ['recompute_granularity', 'recompute_method', 'recompute_num_layers'],
    check: (run) =>
      run.text('recompute_granularity') === 'selective' &&
      (run.given('recompute_method') || run.given('recompute_num_layers'))
        ? broken('selective recompute with a method or a number of layers', 'drop both, and name --recompute-modules')
        : undefined,
  },
  {
    id: 'recompute-modules',
    severity: 'error',
    fields: ['recompute_modules'],
    check: (run) => {
      const modules = run.list('recompute_modules');
      const bad = modules.find((one) => !recomputeModules.includes(one));
      if (bad !== undefined)
        return broken(`${bad} can't be recomputed by name`, `one of ${recomputeModules.join(', ')}`);
      if (modules.includes('moe_act') && !run.on('moe_grouped_gemm'))
        return broken('recompute of moe_act without grouped GEMMs', 'add --moe-grouped-gemm');
      if (modules.includes('mla_up_proj') && !run.on('multi_latent_attention'))
        return broken('recompute of mla_up_proj without latent attention', 'drop it');
      const delayed = run.given('fp8') && run.text('fp8_recipe') === 'delayed';
      return delayed && (modules.includes('moe_act') || modules.includes('layernorm'))
        ? broken('recompute of moe_act or layernorm with delayed fp8 scaling', 'another --fp8-recipe, or other modules')
        : undefined;
    },
  },
];

const offloadRules: readonly Rule[] = [
  {
    id: 'offload-modules',
    severity: 'error',
    fields: ['offload_modules', 'fine_grained_activation_offloading'],
    check: (run) => {
      const modules = run.list('offload_modules');
      const on = run.on('fine_grained_activation_offloading');
      if (on && modules.length === 0)
        return broken('offloading without modules', `--offload-modules, of ${offloadModules.join(', ')}`);
      const bad = modules.find((one) => !offloadModules.includes(one));
      if (bad !== undefined) return broken(`${bad} can't be offloaded`, `one of ${offloadModules.join(', ')}`);
      if (modules.includes('attn_proj') && !modules.includes('core_attn'))
        return broken('offloading attn_proj without core_attn', 'add core_attn');
      if (modules.includes('fused_group_mlp') && !run.on('use_transformer_engine_op_fuser'))
        return broken('offloading fused_group_mlp without fused operations', 'add --use-transformer-engine-op-fuser');
      const known = run.context.versions?.te !== undefined && !run.olderThan('te', '2.10');
      return on && known && run.variable('NVTE_CPU_OFFLOAD_V1') !== '1'
        ? broken('fine-grained offloading with TransformerEngine 2.10 or later', 'export NVTE_CPU_OFFLOAD_V1=1')
        : undefined;
    },
  },
  {
    id: 'layer-offload',
    severity: 'error',
    fields: ['cpu_offloading_num_layers'],
    check: (run) =>
      (run.number('cpu_offloading_num_layers') ?? 0) > 0 &&
      ((run.pipeline ?? 1) > 1 || run.given('recompute_granularity') || run.on('fine_grained_activation_offloading'))
        ? broken(
            'offloading whole layers with stages, recompute or fine-grained offloading',
            'one stage, and none of the others',
          )
        : undefined,
  },
  {
    id: 'optimizer-offload',
    severity: 'error',
    fields: ['optimizer_cpu_offload'],
    check: (run) =>
      run.on('optimizer_cpu_offload') && !run.on('use_precision_aware_optimizer')
        ? broken('--optimizer-cpu-offload alone', 'add --use-precision-aware-optimizer')
        : undefined,
  },
];

const shardingRules: readonly Rule[] = [
  {
    id: 'megatron-fsdp-checkpoints',
    severity: 'error',
    fields: ['use_megatron_fsdp', 'ckpt_format'],
    check: (run) =>
      run.fullyShardedMegatron && run.text('ckpt_format') !== 'fsdp_dtensor'
        ? broken(`Megatron-FSDP with checkpoints of format ${run.text('ckpt_format')}`, '--ckpt-format fsdp_dtensor')
        : undefined,
  },
  {
    id: 'megatron-fsdp-optimizer',
    severity: 'error',
    fields: ['use_megatron_fsdp', 'optimizer'],
    check: (run) => {
      const optimizer = run.text('optimizer') ?? 'adam';
      if (run.fullyShardedMegatron && optimizer !== 'adam' && optimizer !== 'sgd')
        return broken(`Megatron-FSDP with the optimizer ${optimizer}`, 'adam or sgd');
      return run.fullyShardedMegatron &&
        run.text('megatron_fsdp_version') === '2' &&
        run.on('use_distributed_optimizer')
        ? broken('version 2 of Megatron-FSDP with the distributed optimizer', 'drop --use-distributed-optimizer')
        : undefined;
    },
  },
  {
    id: 'layer-wise-optimizer',
    severity: 'changed',
    fields: ['optimizer', 'use_distributed_optimizer'],
    check: (run) => {
      const optimizer = run.text('optimizer') ?? 'adam';
      return run.on('use_distributed_optimizer') && optimizer !== 'adam' && optimizer !== 'sgd'
        ? broken(
            `the distributed optimizer with ${optimizer}`,
            'nothing, if layers are to be shared whole',
            'it becomes layer-wise: whole layers, not slices, are spread over the replicas',
          )
        : undefined;
    },
  },
  {
    id: 'torch-fsdp',
    severity: 'error',
    fields: ['use_torch_fsdp2'],
    check: (run) =>
      run.on('use_torch_fsdp2') &&
      ((run.pipeline ?? 1) > 1 || (run.expert ?? 1) > 1 || run.on('use_distributed_optimizer'))
        ? broken(
            'torch FSDP2 with stages, expert parallelism or the distributed optimizer',
            'none of them, or Megatron-FSDP',
          )
        : undefined,
  },
  {
    id: 'weight-shards-go-with',
    severity: 'error',
    fields: ['tensor_parallel_num_weight_shards', 'expert_tensor_parallel_num_weight_shards'],
    check: (run) => {
      if (!gathers(run)) return undefined;
      const mxfp8 = run.given('fp8') && run.text('fp8_recipe') === 'mxfp8';
      const checks: readonly (readonly [boolean, string])[] = [
        [['torch', 'torch_dist'].includes(run.text('ckpt_format') ?? ''), '--ckpt-format torch or torch_dist'],
        [!run.on('ddp_average_in_collective'), 'no --ddp-average-in-collective'],
        [!mxfp8 || run.on('fp8_param_gather'), '--fp8-param-gather with mxfp8'],
        [!mxfp8 || run.on('reuse_grad_buf_for_mxfp8_param_ag'), '--reuse-grad-buf-for-mxfp8-param-ag with mxfp8'],
        [!run.given('fp4') || run.on('fp4_param_gather'), '--fp4-param-gather with fp4'],
        [
          !(run.on('gtp_remat_nccl_ub') || run.on('gtp_expert_remat_nccl_ub')) ||
            !run.on('disable_symmetric_registration'),
          'no --disable-symmetric-registration with the NCCL buffers of weight shards',
        ],
        [
          run.context.architecture !== 'blackwell' ||
            run.text('cuda_graph_impl') === 'none' ||
            run.variable('CUDA_GRAPHS_USE_NODE_PRIORITY') === '1',
          'CUDA_GRAPHS_USE_NODE_PRIORITY=1 with graphs on Blackwell',
        ],
      ];
      const missing = checks.filter(([kept]) => !kept).map(([, what]) => what);
      return missing.length > 0
        ? broken('weight shards do not go with the rest', `they need ${missing.join('; ')}`)
        : undefined;
    },
  },
  {
    id: 'weight-shards-protocol',
    severity: 'slow',
    fields: ['tensor_parallel_num_weight_shards', 'expert_tensor_parallel_num_weight_shards'],
    check: (run) =>
      gathers(run) && run.variable('NCCL_PROTO')?.toLowerCase() === 'simple'
        ? broken('NCCL_PROTO=simple with weight shards', 'leave it unset', 'small gathers of weights get slow')
        : undefined,
  },
];

const graphRules: readonly Rule[] = [
  {
    id: 'graph-modules',
    severity: 'error',
    fields: ['cuda_graph_modules', 'cuda_graph_impl'],
    check: (run) => {
      const modules = run.list('cuda_graph_modules').flatMap((one) => one.split(','));
      const bad = modules.find((one) => !graphModules.includes(one));
      if (bad !== undefined) return broken(`${bad} can't be graphed by name`, `one of ${graphModules.join(', ')}`);
      if (modules.includes('moe') && modules.includes('moe_router'))
        return broken('moe and moe_router both graphed', 'keep one');
      if (modules.includes('moe_preprocess') && !modules.includes('moe_router'))
        return broken('moe_preprocess graphed without moe_router', 'add moe_router');
      if (modules.includes('moe') && !run.on('moe_pad_expert_input_to_capacity'))
        return broken(
          'moe graphed while the number of tokens of an expert varies',
          'moe_router and moe_preprocess, or --moe-pad-expert-input-to-capacity with a capacity factor',
        );
      const whole = run.text('cuda_graph_impl') === 'full_iteration';
      if (whole && modules.length > 0)
        return broken('modules named for a graph of the whole iteration', 'drop --cuda-graph-modules');
      return whole && run.on('check_for_nan_in_loss_and_grad')
        ? broken('a graph of the whole iteration with the check for NaN', 'add --no-check-for-nan-in-loss-and-grad')
        : undefined;
    },
  },
  {
    id: 'graphs-and-segments',
    severity: 'error',
    fields: ['cuda_graph_impl'],
    check: (run) =>
      run.text('cuda_graph_impl') === 'transformer_engine' &&
      /expandable_segments:\s*True/iu.test(run.variable('PYTORCH_CUDA_ALLOC_CONF') ?? '') &&
      run.variable('NCCL_GRAPH_REGISTER') !== '0'
        ? broken('expandable segments with graphs of Transformer Engine', 'export NCCL_GRAPH_REGISTER=0')
        : undefined,
  },
  {
    id: 'dry-run-dispatcher',
    severity: 'error',
    fields: ['fake_process_group'],
    check: (run) =>
      run.on('fake_process_group') && run.text('moe_token_dispatcher_type') === 'flex'
        ? broken(
            '--fake-process-group with the flex dispatcher',
            '--moe-token-dispatcher-type alltoall for the dry run',
          )
        : undefined,
  },
  {
    id: 'dry-run-alone',
    severity: 'changed',
    fields: ['fake_process_group'],
    check: (run) =>
      run.on('fake_process_group')
        ? broken(
            '--fake-process-group is a dry run of memory and computing in one process',
            'drop it for training',
            'nothing is communicated; the check for NaN and the Gloo groups go off',
          )
        : undefined,
  },
  {
    id: 'te-cross-entropy',
    severity: 'error',
    fields: ['cross_entropy_fusion_impl'],
    check: (run) =>
      run.text('cross_entropy_fusion_impl') === 'te'
        ? broken(
            '--cross-entropy-fusion-impl te, which the argument parser refuses',
            '--cross-entropy-fusion-impl native',
          )
        : undefined,
  },
  {
    id: 'two-precisions',
    severity: 'error',
    fields: ['bf16', 'fp16'],
    check: (run) => (run.on('bf16') && run.on('fp16') ? broken('--bf16 and --fp16 at once', 'keep one') : undefined),
  },
];

export const memoryRules: readonly Rule[] = [...recomputeRules, ...offloadRules, ...shardingRules, ...graphRules];
