/** Rules about routing (megatron/core/transformer/transformer_config.py, transformer/moe/router.py). */
import { listedLayers } from './layer-pattern.js';
import { broken, dispatcherType, flexWith, whenKnown, type Rule } from './rule.js';

export const routerRules: readonly Rule[] = [
  {
    id: 'layer-pattern',
    severity: 'error',
    fields: ['moe_layer_freq', 'num_layers'],
    check: (run) =>
      whenKnown([listedLayers(run.text('moe_layer_freq') ?? '')?.length, run.number('num_layers')], (listed, layers) =>
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
    id: 'expert-width-by-default',
    severity: 'changed',
    fields: ['moe_ffn_hidden_size', 'ffn_hidden_size', 'num_experts'],
    check: (run) =>
      run.mixtureOfExperts && !run.given('moe_ffn_hidden_size')
        ? broken(
            '--moe-ffn-hidden-size is not given',
            'give it, if only as the same number',
            run.given('ffn_hidden_size')
              ? 'experts are as wide as --ffn-hidden-size'
              : 'experts are as wide as --ffn-hidden-size, which is not given either',
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
      return dispatcherType(run) === 'allgather'
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
