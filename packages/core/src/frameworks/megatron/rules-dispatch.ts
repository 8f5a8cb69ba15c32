/** Rules about dispatch and experts (megatron/core/transformer/transformer_config.py, transformer/moe/*). */
import { broken, dispatcherType, flexWith, whenKnown, type Rule } from './rule.js';

export const dispatcherRules: readonly Rule[] = [
  {
    id: 'allgather-dispatcher',
    severity: 'slow',
    fields: ['moe_token_dispatcher_type', 'expert_model_parallel_size'],
    check: (run) =>
      run.mixtureOfExperts && (run.expert ?? 1) > 1 && dispatcherType(run) === 'allgather'
        ? broken(
            `the ${run.given('moe_token_dispatcher_type') ? '' : 'default '}dispatcher allgather sends every token ` +
              'to every expert rank',
            'add --moe-token-dispatcher-type alltoall, or flex with a backend',
            `with expert parallel size ${run.expert} more bytes travel than the routing needs, unless top-k is near it`,
          )
        : undefined,
  },
  {
    id: 'backend-without-flex',
    severity: 'slow',
    fields: ['moe_flex_dispatcher_backend'],
    check: (run) =>
      run.given('moe_flex_dispatcher_backend') &&
      dispatcherType(run) !== 'flex' &&
      run.text('moe_flex_dispatcher_backend') !== 'ncclep'
        ? broken(
            `--moe-flex-dispatcher-backend ${run.text('moe_flex_dispatcher_backend')} with the dispatcher ` +
              `${dispatcherType(run)}`,
            'add --moe-token-dispatcher-type flex',
            'the backend does nothing',
          )
        : undefined,
  },
  {
    id: 'ncclep-without-flex',
    severity: 'error',
    fields: ['moe_flex_dispatcher_backend'],
    check: (run) =>
      run.text('moe_flex_dispatcher_backend') === 'ncclep' && dispatcherType(run) !== 'flex'
        ? broken(
            `the backend ncclep with the dispatcher ${dispatcherType(run)}`,
            'add --moe-token-dispatcher-type flex',
          )
        : undefined,
  },
  {
    id: 'flex-group',
    severity: 'error',
    fields: ['moe_flex_dispatcher_backend', 'moe_token_dispatcher_type'],
    check: (run) =>
      flexWith(run, 'deepep', 'ncclep')
        ? whenKnown([run.expert, run.expertTensor], (expert, tensor) =>
            expert * tensor > 1
              ? undefined
              : broken(
                  `${run.text('moe_flex_dispatcher_backend')} with a single rank of experts`,
                  'expert parallelism, or --moe-token-dispatcher-type alltoall',
                ),
          )
        : undefined,
  },
  {
    id: 'multiprocessors-of-dispatch',
    severity: 'error',
    fields: ['moe_deepep_num_sms', 'moe_hybridep_num_sms'],
    check: (run) =>
      run.given('moe_deepep_num_sms') && run.given('moe_hybridep_num_sms') && !run.given('moe_flex_dispatcher_num_sms')
        ? whenKnown([run.number('moe_deepep_num_sms'), run.number('moe_hybridep_num_sms')], (deep, hybrid) =>
            deep === hybrid
              ? undefined
              : broken(
                  `two different numbers of multiprocessors, ${deep} and ${hybrid}`,
                  '--moe-flex-dispatcher-num-sms alone',
                ),
          )
        : undefined,
  },
  {
    id: 'ncclep-zero-copy',
    severity: 'error',
    fields: ['moe_ncclep_zero_copy'],
    check: (run) =>
      run.on('moe_ncclep_zero_copy') && !run.given('moe_expert_rank_capacity_factor')
        ? broken('--moe-ncclep-zero-copy without a capacity of the rank', 'add --moe-expert-rank-capacity-factor')
        : undefined,
  },
  {
    id: 'dispatch-in-mxfp8',
    severity: 'error',
    fields: ['moe_dispatch_fwd_dtype', 'moe_combine_bwd_dtype'],
    check: (run) => {
      const fields = ['moe_dispatch_fwd_dtype', 'moe_combine_bwd_dtype'];
      if (!fields.some((field) => run.text(field) === 'mxfp8')) return undefined;
      return flexWith(run, 'ncclep') && run.on('moe_grouped_gemm') && run.on('use_transformer_engine_op_fuser')
        ? undefined
        : broken(
            'dispatch or combine in mxfp8',
            'it needs flex with ncclep, --moe-grouped-gemm and --use-transformer-engine-op-fuser',
          );
    },
  },
  {
    id: 'rank-capacity',
    severity: 'error',
    fields: ['moe_expert_rank_capacity_factor'],
    check: (run) =>
      run.given('moe_expert_rank_capacity_factor') && !flexWith(run, 'hybridep', 'ncclep')
        ? broken(
            'a capacity of the rank with another dispatcher',
            '--moe-token-dispatcher-type flex with hybridep or ncclep',
          )
        : undefined,
  },
  {
    id: 'rank-capacity-of-hybridep',
    severity: 'error',
    fields: ['moe_expert_rank_capacity_factor'],
    check: (run) =>
      run.given('moe_expert_rank_capacity_factor') &&
      flexWith(run, 'hybridep') &&
      !run.on('use_transformer_engine_op_fuser') &&
      !run.on('moe_use_grouped_tensor')
        ? broken(
            'a capacity of the rank with hybridep alone',
            'add --use-transformer-engine-op-fuser or --moe-use-grouped-tensor',
          )
        : undefined,
  },
  {
    id: 'static-capacity-of-ncclep',
    severity: 'error',
    fields: ['moe_expert_rank_capacity_factor', 'fp8'],
    check: (run) => {
      if (!run.given('moe_expert_rank_capacity_factor') || !flexWith(run, 'ncclep') || !run.given('fp8'))
        return undefined;
      const { architecture } = run.context;
      return (architecture !== undefined && architecture !== 'blackwell') ||
        run.variable('NVTE_CUTEDSL_FUSED_GROUPED_MLP') !== '1'
        ? broken(
            'a static capacity of ncclep with fp8',
            'it needs Blackwell, and NVTE_CUTEDSL_FUSED_GROUPED_MLP=1 in the environment',
          )
        : undefined;
    },
  },
  {
    id: 'rank-capacity-drops',
    severity: 'slow',
    fields: ['moe_expert_rank_capacity_factor'],
    check: (run) =>
      run.given('moe_expert_rank_capacity_factor') && flexWith(run, 'hybridep')
        ? broken(
            `hybridep with a rank capacity of ${run.number('moe_expert_rank_capacity_factor')}`,
            'a factor over the skew of your routing, or --moe-paged-stash',
            'tokens above the budget are dropped',
          )
        : undefined,
  },
  {
    id: 'paged-stash',
    severity: 'error',
    fields: ['moe_paged_stash'],
    check: (run) => {
      if (!run.on('moe_paged_stash')) return undefined;
      if (!run.given('moe_expert_rank_capacity_factor'))
        return broken('--moe-paged-stash without a capacity of the rank', 'add --moe-expert-rank-capacity-factor');
      const expertModules = run
        .list('offload_modules')
        .some((one) => ['expert_fc1', 'moe_act', 'fused_group_mlp'].includes(one));
      if ((run.number('cpu_offloading_num_layers') ?? 0) > 0)
        return broken('--moe-paged-stash while whole layers are offloaded', 'drop --cpu-offloading-num-layers');
      return expertModules
        ? broken('--moe-paged-stash while expert modules are offloaded', 'drop them from --offload-modules')
        : undefined;
    },
  },
  {
    id: 'grouped-weights',
    severity: 'error',
    fields: ['moe_single_grouped_weight', 'moe_single_grouped_bias', 'moe_use_grouped_tensor'],
    check: (run) => {
      const single = run.on('moe_single_grouped_weight') || run.on('moe_single_grouped_bias');
      if (!single && !run.on('moe_use_grouped_tensor')) return undefined;
      if (!run.on('moe_grouped_gemm')) return broken('grouped weights without grouped GEMMs', 'add --moe-grouped-gemm');
      return single && run.fullyShardedMegatron
        ? broken('one tensor for all experts with Megatron-FSDP', 'drop the single-grouped flags')
        : undefined;
    },
  },
  {
    id: 'shared-expert-overlap',
    severity: 'error',
    fields: ['moe_shared_expert_overlap'],
    check: (run) => {
      if (!run.on('moe_shared_expert_overlap')) return undefined;
      if (dispatcherType(run) === 'allgather')
        return broken('shared experts beside an allgather dispatch', '--moe-token-dispatcher-type alltoall or flex');
      const other = [
        ...(run.on('overlap_moe_expert_parallel_comm') ? ['--overlap-moe-expert-parallel-comm'] : []),
        ...(run.given('moe_latent_size') ? ['--moe-latent-size'] : []),
        ...(run.list('recompute_modules').includes('shared_experts') ? ['recomputing shared_experts'] : []),
      ];
      return other.length > 0
        ? broken(`--moe-shared-expert-overlap together with ${other.join(', ')}`, 'keep one of them')
        : undefined;
    },
  },
  {
    id: 'grouped-gemm-capability',
    severity: 'error',
    fields: ['moe_grouped_gemm'],
    check: (run) =>
      run.on('moe_grouped_gemm') && run.context.architecture === 'volta'
        ? broken('grouped GEMMs on a GPU below compute capability 8.0', 'drop --moe-grouped-gemm')
        : undefined,
  },
  {
    id: 'channels-that-do-not-bind',
    severity: 'slow',
    fields: ['moe_token_dispatcher_type', 'expert_model_parallel_size'],
    check: (run) =>
      run.mixtureOfExperts &&
      (run.expert ?? 1) > 1 &&
      dispatcherType(run) === 'alltoall' &&
      run.variable('NCCL_MAX_NCHANNELS') !== undefined &&
      run.variable('NCCL_MAX_P2P_NCHANNELS') === undefined
        ? broken(
            'NCCL_MAX_NCHANNELS is set, and the exchange of tokens is sends and receives',
            'NCCL_MAX_P2P_NCHANNELS and NCCL_NCHANNELS_PER_NET_PEER bind them (NVIDIA/nccl #1598, #1272)',
            'it does not bind an all_to_all',
          )
        : undefined,
  },
];
