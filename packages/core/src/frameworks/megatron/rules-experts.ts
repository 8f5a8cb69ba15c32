/** Rules about routing and dispatch (megatron/core/transformer/transformer_config.py, transformer/moe/*). */
import { broken, whenKnown, type Rule } from './rule.js';
import type { MegatronRun } from './run.js';

const type = (run: MegatronRun): string | undefined => run.text('moe_token_dispatcher_type');
const flexWith = (run: MegatronRun, ...backends: readonly string[]): boolean =>
  type(run) === 'flex' && backends.includes(run.text('moe_flex_dispatcher_backend') ?? '');

/** Layers that a pattern like `([0]*3+[1]*58)` lists; undefined where it is another kind of expression. */
export function layerPatternLength(pattern: string): number | undefined {
  const terms = pattern.replaceAll(/[\s()]/gu, '').split('+');
  let length = 0;
  for (const term of terms) {
    const [, inner, times = '1'] = /^\[([01](?:,[01])*)\](?:\*(\d+))?$/u.exec(term) ?? [];
    if (inner === undefined) return undefined;
    length += inner.split(',').length * Number(times);
  }
  return length;
}

const routerRules: readonly Rule[] = [
  {
    id: 'layer-pattern',
    severity: 'error',
    fields: ['moe_layer_freq', 'num_layers'],
    check: (run) =>
      whenKnown([layerPatternLength(run.text('moe_layer_freq') ?? ''), run.number('num_layers')], (listed, layers) =>
        listed === layers
          ? undefined
          : broken(`--moe-layer-freq lists ${listed} layers of ${layers}`, 'one entry a layer'),
      ),
  },
  {
    id: 'top-1-softmax',
    severity: 'error',
    fields: ['moe_router_topk'],
    check: (run) =>
      run.mixtureOfExperts &&
      run.number('moe_router_topk') === 1 &&
      run.text('moe_router_score_function') === 'softmax' &&
      !run.on('moe_router_pre_softmax') &&
      !run.list('moe_router_load_balancing_type').includes('sinkhorn')
        ? broken('top-1 with a softmax over the chosen expert alone, which is always 1', 'add --moe-router-pre-softmax')
        : undefined,
  },
  {
    id: 'expert-groups',
    severity: 'error',
    fields: ['moe_router_num_groups', 'moe_router_group_topk'],
    check: (run) => {
      const [groups, chosen] = [run.number('moe_router_num_groups'), run.number('moe_router_group_topk')];
      if (run.given('moe_router_num_groups') !== run.given('moe_router_group_topk'))
        return broken('only one of --moe-router-num-groups and --moe-router-group-topk', 'give both');
      return whenKnown([groups, chosen, run.number('num_experts')], (all, top, experts) =>
        experts % all === 0 && top <= all
          ? undefined
          : broken(
              `top ${top} of ${all} groups of ${experts} experts`,
              'groups that divide the experts, and no more of them than there are',
            ),
      );
    },
  },
  {
    id: 'expert-bias',
    severity: 'error',
    fields: ['moe_router_enable_expert_bias'],
    check: (run) =>
      run.on('moe_router_enable_expert_bias') && run.text('moe_router_score_function') === 'softmax'
        ? broken('--moe-router-enable-expert-bias with softmax scores', '--moe-router-score-function sigmoid')
        : undefined,
  },
  {
    id: 'balancing-coefficients',
    severity: 'error',
    fields: ['moe_router_load_balancing_type', 'moe_aux_loss_coeff'],
    check: (run) => {
      const types = run.list('moe_router_load_balancing_type');
      const coefficients = run.list('moe_aux_loss_coeff').map(Number);
      if (types.includes('sinkhorn') && coefficients.some((value) => value !== 0))
        return broken('sinkhorn balancing with an auxiliary loss', '--moe-aux-loss-coeff 0');
      if (types.length > 1 && types.length !== coefficients.length)
        return broken(`${types.length} kinds of balancing with ${coefficients.length} coefficients`, 'as many of each');
      const odd =
        types.length > 1 ? types.find((one) => one === 'sinkhorn' || one === 'quantile_balancing') : undefined;
      return odd === undefined
        ? undefined
        : broken(`${odd} in a list of kinds of balancing`, 'it can only stand alone');
    },
  },
  {
    id: 'nothing-balances',
    severity: 'slow',
    fields: ['moe_aux_loss_coeff', 'moe_router_load_balancing_type', 'num_experts'],
    check: (run) => {
      const losses = run.list('moe_router_load_balancing_type').filter((one) => one.endsWith('aux_loss'));
      const coefficients = run.list('moe_aux_loss_coeff').map(Number);
      return run.mixtureOfExperts &&
        losses.length > 0 &&
        coefficients.every((value) => value === 0) &&
        !run.on('moe_router_enable_expert_bias')
        ? broken(
            `balancing by ${losses.join(', ')} with coefficient 0`,
            'give --moe-aux-loss-coeff (1e-2 to 1e-4 are usual), or say none',
            'nothing balances the experts: the busiest rank sets the pace',
          )
        : undefined;
    },
  },
  {
    id: 'router-precision',
    severity: 'slow',
    fields: ['moe_router_dtype', 'num_experts'],
    check: (run) =>
      run.mixtureOfExperts && !run.given('moe_router_dtype')
        ? broken(
            'the router computes in the type of the activations',
            'add --moe-router-dtype fp32',
            'close scores round to the same value, and some dispatch paths need it',
          )
        : undefined,
  },
  {
    id: 'forced-balance',
    severity: 'slow',
    fields: ['moe_router_force_load_balancing', 'moe_router_force_biased'],
    check: (run) =>
      run.on('moe_router_force_load_balancing') || run.given('moe_router_force_biased')
        ? broken(
            'routing is forced',
            'drop it for training',
            'the model learns nothing from its router, and the step time is not that of a real run',
          )
        : undefined,
  },
  {
    id: 'padding-for-quantization',
    severity: 'error',
    fields: ['moe_router_padding_for_quantization', 'moe_router_padding_for_fp8'],
    check: (run) => {
      if (!run.on('moe_router_padding_for_quantization') && !run.on('moe_router_padding_for_fp8')) return undefined;
      if (!run.quantized) return broken('padding for quantization without fp8 or fp4', 'add --fp8-format or drop it');
      return type(run) === 'allgather'
        ? broken('padding for quantization with the allgather dispatcher', '--moe-token-dispatcher-type alltoall')
        : undefined;
    },
  },
  {
    id: 'capacity-balancing',
    severity: 'error',
    fields: ['moe_expert_capacity_factor'],
    check: (run) => {
      const allowed = ['aux_loss', 'seq_aux_loss', 'global_aux_loss', 'none'];
      const odd = run.list('moe_router_load_balancing_type').find((one) => !allowed.includes(one));
      return run.given('moe_expert_capacity_factor') && odd !== undefined
        ? broken(`a capacity factor with ${odd} balancing`, `one of ${allowed.join(', ')}`)
        : undefined;
    },
  },
  {
    id: 'padding-to-capacity',
    severity: 'error',
    fields: ['moe_pad_expert_input_to_capacity'],
    check: (run) => {
      if (!run.on('moe_pad_expert_input_to_capacity')) return undefined;
      if (!run.given('moe_expert_capacity_factor'))
        return broken('padding to a capacity that is not given', 'add --moe-expert-capacity-factor');
      return flexWith(run, 'deepep', 'ncclep')
        ? broken(`padding to capacity with ${run.text('moe_flex_dispatcher_backend')}`, 'alltoall, or no padding')
        : undefined;
    },
  },
  {
    id: 'upcycling-saves',
    severity: 'error',
    fields: ['moe_use_upcycling'],
    check: (run) =>
      run.on('moe_use_upcycling') && !run.given('save')
        ? broken('--moe-use-upcycling without --save', 'say where the upcycled model goes')
        : undefined,
  },
];

const dispatcherRules: readonly Rule[] = [
  {
    id: 'allgather-dispatcher',
    severity: 'slow',
    fields: ['moe_token_dispatcher_type', 'expert_model_parallel_size'],
    check: (run) =>
      run.mixtureOfExperts && (run.expert ?? 1) > 1 && type(run) === 'allgather'
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
      type(run) !== 'flex' &&
      run.text('moe_flex_dispatcher_backend') !== 'ncclep'
        ? broken(
            `--moe-flex-dispatcher-backend ${run.text('moe_flex_dispatcher_backend')} with the dispatcher ${type(run)}`,
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
      run.text('moe_flex_dispatcher_backend') === 'ncclep' && type(run) !== 'flex'
        ? broken(`the backend ncclep with the dispatcher ${type(run)}`, 'add --moe-token-dispatcher-type flex')
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
      return flexWith(run, 'ncclep') && run.on('moe_grouped_gemm')
        ? undefined
        : broken('dispatch or combine in mxfp8', 'it needs flex with ncclep, and --moe-grouped-gemm');
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
      if (type(run) === 'allgather')
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
];

export const expertRules: readonly Rule[] = [...routerRules, ...dispatcherRules];
