/**
 * Rules about versions of TransformerEngine (megatron/core/transformer/transformer_config.py,
 * megatron/training/arguments.py). They say nothing where the version is not known.
 */
import { broken, type Rule } from './rule.js';
import type { MegatronRun } from './run.js';

interface Needs {
  readonly id: string;
  readonly field: string;
  /** Version of TransformerEngine. */
  readonly least: string;
  readonly used: (run: MegatronRun) => boolean;
}

const needs: readonly Needs[] = [
  { id: 'router-fusion-version', field: 'moe_router_fusion', least: '2.7', used: (run) => run.on('moe_router_fusion') },
  {
    id: 'permute-fusion-version',
    field: 'moe_permute_fusion',
    least: '2.1',
    used: (run) => run.on('moe_permute_fusion'),
  },
  {
    id: 'single-weight-version',
    field: 'moe_single_grouped_weight',
    least: '2.14',
    used: (run) => run.on('moe_single_grouped_weight') || run.on('moe_single_grouped_bias'),
  },
  {
    id: 'weight-shards-version',
    field: 'tensor_parallel_num_weight_shards',
    least: '2.19',
    used: (run) => (run.weightShards ?? 1) > 1 || (run.expertWeightShards ?? 1) > 1,
  },
  {
    id: 'dispatch-beside-weight-gradients-version',
    field: 'overlap_dispatch_backward_with_experts_wgrad',
    least: '2.3',
    used: (run) => run.on('overlap_dispatch_backward_with_experts_wgrad'),
  },
];

export const softwareRules: readonly Rule[] = needs.map(({ id, field, least, used }): Rule => ({
  id,
  severity: 'error',
  fields: [field],
  check: (run) =>
    used(run) && run.olderThan('te', least)
      ? broken(
          `--${field.replaceAll('_', '-')} with TransformerEngine ${run.context.versions?.te ?? ''}`,
          `TransformerEngine ${least} or later`,
        )
      : undefined,
}));
