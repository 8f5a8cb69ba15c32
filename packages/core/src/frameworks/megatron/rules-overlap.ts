/** Rules about overlap and the environment it needs (megatron/training/arguments.py, core/model_parallel_config.py). */
import { broken, flexWith, type Rule } from './rule.js';
import type { MegatronRun } from './run.js';

/** What `--overlap-moe-expert-parallel-comm` asks for and this run lacks. */
function missingForExpertOverlap(run: MegatronRun): string[] {
  const interleaves = (run.pipeline ?? 1) === 1 || run.interleaved;
  const modules = run.list('recompute_modules');
  const graphed = run.list('cuda_graph_modules');
  const checks: readonly (readonly [boolean, string])[] = [
    [(run.expert ?? 2) > 1, 'an expert parallel size over 1'],
    [run.text('moe_token_dispatcher_type') !== 'allgather', '--moe-token-dispatcher-type alltoall or flex'],
    [interleaves, 'virtual stages (--num-virtual-stages-per-pipeline-rank)'],
    [run.on('bf16') || run.on('fp16'), '--bf16 or --fp16'],
    [run.text('recompute_granularity') !== 'full', 'no full recompute'],
    [
      !run.given('recompute_method') && !run.given('recompute_num_layers'),
      'no --recompute-method or --recompute-num-layers',
    ],
    [!modules.includes('moe'), 'no moe in --recompute-modules'],
    [!run.on('moe_shared_expert_overlap'), 'no --moe-shared-expert-overlap'],
    [(run.number('mtp_num_layers') ?? 0) <= 1, 'at most one layer of multi-token prediction'],
    [
      !flexWith(run, 'ncclep') || !run.list('offload_modules').includes('expert_fc1'),
      'no expert_fc1 in --offload-modules with ncclep',
    ],
    [!run.olderThan('torch', '2.6'), 'PyTorch 2.6'],
    [
      run.text('cuda_graph_impl') !== 'transformer_engine' || !graphed.some((one) => one === 'moe' || one === 'mlp'),
      'no moe or mlp in --cuda-graph-modules',
    ],
  ];
  return checks.filter(([kept]) => !kept).map(([, what]) => what);
}

/** What `--delay-wgrad-compute` asks of versions and graphs (arguments.py, `validate_args`). */
function missingForDelay(run: MegatronRun): string[] {
  const modules = run.list('cuda_graph_modules').flatMap((one) => one.split(','));
  const graphs = run.text('cuda_graph_impl') === 'transformer_engine';
  const graphed = graphs && modules.some((one) => one === 'attn' || one === 'moe_router');
  const [fused, reduces] = [run.on('gradient_accumulation_fusion'), run.on('overlap_grad_reduce')];
  const checks: readonly (readonly [boolean, string])[] = [
    [!reduces || !run.olderThan('te', '2.8'), 'TransformerEngine 2.8 beside --overlap-grad-reduce'],
    [fused || !run.olderThan('te', '2.7'), 'TransformerEngine 2.7 without gradient fusion'],
    [!graphs || !run.olderThan('te', '2.10'), 'TransformerEngine 2.10 with its graphs'],
    [!graphed || !run.olderThan('te', '2.12'), 'TransformerEngine 2.12 with attention or router graphed'],
    [!graphed || fused, 'gradient fusion with attention or router graphed'],
    [
      !graphed || !modules.includes('attn') || (!run.on('add_bias_linear') && !run.on('add_qkv_bias')),
      'no bias of attention that is graphed',
    ],
  ];
  return checks.filter(([kept]) => !kept).map(([, what]) => what);
}

/** Groups that parallel_state.py makes communicators of. */
const groupNames = [
  'tp',
  'pp',
  'dp',
  'cp',
  'mp',
  'ep',
  'hcp',
  'embd',
  'pos_embd',
  'dp_cp',
  'intra_dp_cp',
  'tp_dp_cp',
  'tp_dp',
  'tp_cp',
  'ep_tp',
  'tp_ep_mp',
  'tp_ep_pp',
  'tp_ep_gtp_remat_pp',
  'ep_dp',
  'intra_ep_dp',
  'inter_ep_dp',
  'gtp_remat',
  'gtp_remat_dp',
  'gtp_remat_dp_cp',
  'expt_gtp_remat',
  'ep_gtp_remat_dp',
  'intra_dist_opt_instance',
];

export const overlapRules: readonly Rule[] = [
  {
    id: 'expert-overlap',
    severity: 'error',
    fields: ['overlap_moe_expert_parallel_comm'],
    check: (run) => {
      const missing = run.on('overlap_moe_expert_parallel_comm') ? missingForExpertOverlap(run) : [];
      return missing.length === 0
        ? undefined
        : broken('--overlap-moe-expert-parallel-comm does not go with the rest', `it needs ${missing.join('; ')}`);
    },
  },
  {
    id: 'delayed-weight-gradients',
    severity: 'error',
    fields: ['delay_wgrad_compute'],
    check: (run) => {
      if (!run.on('delay_wgrad_compute')) return undefined;
      if (!run.on('overlap_moe_expert_parallel_comm'))
        return broken('--delay-wgrad-compute without --overlap-moe-expert-parallel-comm', 'add it');
      if ((run.text('transformer_impl') ?? 'transformer_engine') !== 'transformer_engine')
        return broken('--delay-wgrad-compute with another implementation', '--transformer-impl transformer_engine');
      const missing = missingForDelay(run);
      return missing.length === 0
        ? undefined
        : broken('--delay-wgrad-compute does not go with the rest', `it needs ${missing.join('; ')}`);
    },
  },
  {
    id: 'dispatch-beside-weight-gradients',
    severity: 'error',
    fields: ['overlap_dispatch_backward_with_experts_wgrad'],
    check: (run) =>
      run.on('overlap_dispatch_backward_with_experts_wgrad') &&
      (run.on('overlap_moe_expert_parallel_comm') || run.on('delay_wgrad_compute'))
        ? broken(
            '--overlap-dispatch-backward-with-experts-wgrad together with the overlap of whole micro-batches',
            'keep one of them: this one works without virtual stages',
          )
        : undefined,
  },
  {
    id: 'early-attention-release',
    severity: 'error',
    fields: ['ep_overlap_early_attn_memory_release'],
    check: (run) =>
      run.on('ep_overlap_early_attn_memory_release') && !run.on('overlap_moe_expert_parallel_comm')
        ? broken('--ep-overlap-early-attn-memory-release alone', 'it goes with --overlap-moe-expert-parallel-comm')
        : undefined,
  },
  {
    id: 'parameter-gather',
    severity: 'error',
    fields: ['overlap_param_gather'],
    check: (run) => {
      if (!run.on('overlap_param_gather')) return undefined;
      const sharded =
        run.on('use_distributed_optimizer') ||
        run.fullyShardedMegatron ||
        run.on('use_torch_fsdp2') ||
        run.text('optimizer') === 'dist_muon';
      const missing = [
        ...(sharded ? [] : ['--use-distributed-optimizer']),
        ...(run.on('overlap_grad_reduce') ? [] : ['--overlap-grad-reduce']),
      ];
      return missing.length === 0 ? undefined : broken('--overlap-param-gather alone', `add ${missing.join(' and ')}`);
    },
  },
  {
    id: 'parameter-gather-with-optimizer',
    severity: 'error',
    fields: ['overlap_param_gather_with_optimizer_step'],
    check: (run) =>
      run.on('overlap_param_gather_with_optimizer_step') &&
      !(run.interleaved && run.on('overlap_param_gather') && run.text('ckpt_format') === 'torch')
        ? broken(
            '--overlap-param-gather-with-optimizer-step does not go with the rest',
            'it needs --overlap-param-gather, virtual stages and no distributed checkpoints',
          )
        : undefined,
  },
  {
    id: 'tensor-parallel-overlap',
    severity: 'error',
    fields: ['tp_comm_overlap'],
    check: (run) =>
      run.on('tp_comm_overlap') && !run.on('sequence_parallel')
        ? broken('--tp-comm-overlap without sequence parallelism', 'add --sequence-parallel')
        : undefined,
  },
  {
    id: 'gradient-buckets',
    severity: 'error',
    fields: ['ddp_num_buckets', 'ddp_bucket_size'],
    check: (run) =>
      run.given('ddp_num_buckets') && run.given('ddp_bucket_size')
        ? broken('both a number and a size of gradient buckets', 'keep one of them')
        : undefined,
  },
  {
    id: 'stream-groups',
    severity: 'error',
    fields: ['high_priority_stream_groups'],
    check: (run) => {
      const bad = run.list('high_priority_stream_groups').find((one) => !groupNames.includes(one));
      return bad === undefined ? undefined : broken(`${bad} is no group of ranks`, `some of ${groupNames.join(', ')}`);
    },
  },
  {
    id: 'connections-must-be-1',
    severity: 'error',
    fields: ['tensor_model_parallel_size', 'context_parallel_size'],
    check: (run) => {
      const { architecture } = run.context;
      const applies =
        architecture !== undefined &&
        architecture !== 'blackwell' &&
        ((run.tensor ?? 1) > 1 || (run.contextParallel ?? 1) > 1) &&
        !run.fullyShardedMegatron &&
        !run.on('use_torch_fsdp2') &&
        !run.on('overlap_moe_expert_parallel_comm');
      const value = run.variable('CUDA_DEVICE_MAX_CONNECTIONS');
      return applies && value !== '1'
        ? broken(
            `CUDA_DEVICE_MAX_CONNECTIONS is ${value ?? 'not set'} with tensor or context parallelism on ` +
              architecture,
            'export CUDA_DEVICE_MAX_CONNECTIONS=1 before the process starts',
          )
        : undefined;
    },
  },
  {
    id: 'connections-with-expert-overlap',
    severity: 'slow',
    fields: ['overlap_moe_expert_parallel_comm'],
    check: (run) => {
      const { architecture } = run.context;
      const applies = run.on('overlap_moe_expert_parallel_comm') && architecture !== 'blackwell';
      return applies && architecture !== undefined && run.variable('CUDA_DEVICE_MAX_CONNECTIONS') === '1'
        ? broken(
            'CUDA_DEVICE_MAX_CONNECTIONS=1 with the overlap of expert communication',
            'try 32',
            '1 favours tensor and context parallelism, 32 the overlap of expert communication',
          )
        : undefined;
    },
  },
  {
    id: 'connections-with-fsdp',
    severity: 'error',
    fields: ['use_megatron_fsdp', 'use_torch_fsdp2'],
    check: (run) =>
      (run.fullyShardedMegatron || run.on('use_torch_fsdp2')) && run.variable('CUDA_DEVICE_MAX_CONNECTIONS') === '1'
        ? broken('CUDA_DEVICE_MAX_CONNECTIONS=1 with FSDP', 'another number, or leave it unset')
        : undefined,
  },
];
