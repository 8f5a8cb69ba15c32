/** What a run of torchtitan is for the price of its step. */
import type { Cluster } from '../../cluster/cluster.js';
import {
  runSetting,
  type ComputePrecision,
  type DispatchKind,
  type RecomputeSetting,
  type RunSetting,
} from '../../estimate/index.js';
import { checkModelLayout } from '../../layout/index.js';
import type { MoeModel } from '../../model/model.js';
import { notTold, type NotPriced } from '../not-priced.js';
import type { TorchtitanRun } from './run.js';
import { stagesOf } from './stages.js';

/** Models of torchtitan by `model.name` and `model.flavor`, under their names here. */
const flavors: Readonly<Record<string, string>> = {
  'deepseek_v3 671B': 'deepseek-v3',
  'qwen3 30B-A3B': 'qwen3-30b-a3b',
  'qwen3 235B-A22B': 'qwen3-235b-a22b',
  'gpt_oss 20b': 'gpt-oss-20b',
  'gpt_oss 120b': 'gpt-oss-120b',
};

/** The preset that a configuration names; undefined where it names none that is known. */
export const torchtitanModelName = (run: TorchtitanRun): string | undefined =>
  flavors[`${run.text('model.name') ?? ''} ${run.text('model.flavor') ?? ''}`];

const dispatchers: Readonly<Record<string, DispatchKind>> = { deepep: 'deduplicated', hybridep: 'deduplicated' };

/** Quantising converters, in `model.converters`, `quantize` or the components of Python. */
function precisionOf(run: TorchtitanRun): ComputePrecision {
  const value = run.value('model.converters');
  const converters = Array.isArray(value) ? value.map(String) : typeof value === 'string' ? [value] : [];
  if (converters.some((name) => /mx/iu.test(name))) return 'mxfp8';
  return converters.some((name) => /float8/iu.test(name)) ? 'fp8' : 'bf16';
}

/**
 * Selective keeps attention, products (every second one) and what was exchanged
 * (torchtitan/distributed/activation_checkpoint.py): norms and activations run again.
 */
const recomputes: Readonly<Record<string, RecomputeSetting>> = {
  none: 'none',
  full: 'full',
  selective: ['layernorm', 'moe_act'],
};

/** Why degrees, batch and sequence make no step. */
function whyNone(run: TorchtitanRun): NotPriced {
  const tokens = run.given('training.num_tokens_per_microbatch_per_dp_rank');
  const needed = tokens ? ['training.max_context_length'] : ['training.local_batch_size', 'training.seq_len'];
  const missing = notTold(needed.filter((key) => !run.given(key)));
  if (missing !== undefined) return missing;
  return run.planned === undefined
    ? { why: 'degrees and ranks are not known, or make no layout' }
    : { why: 'the batch does not divide into micro-batches of all replicas' };
}

/** Reads the setting, or says why there is none. Throws `InputError` for a model that the degrees do not divide. */
export function settingOfTorchtitan(run: TorchtitanRun, model: MoeModel, cluster: Cluster): RunSetting | NotPriced {
  const { planned } = run;
  const { layout, sequences, microBatches, sequence } = planned ?? {};
  if (layout === undefined || sequences === undefined || microBatches === undefined || sequence === undefined)
    return whyNone(run);
  if ((run.degree('data_parallel_replicate_degree') ?? 1) > 1 && (run.shards ?? 1) > 1)
    return { why: 'replicas of shards (HSDP) have no price' };
  const stages = stagesOf(run, model.layers);
  if (stages === undefined) return { why: `${run.schedule} or its stages have no price` };
  checkModelLayout(model, layout);
  return runSetting({
    model,
    cluster,
    layout,
    ...stages,
    sequence,
    microBatch: sequences,
    globalBatch: sequences * microBatches * layout.dp,
    precision: precisionOf(run),
    // fully_shard keeps weights, gradients and moments in float32, and gathers bfloat16
    states: 'full',
    sharing: (run.shards ?? 1) > 1 || layout.cp > 1 ? 'fsdp' : 'none',
    recompute: recomputes[run.recompute] ?? 'none',
    dispatcher: dispatchers[planned?.dispatcher ?? ''] ?? 'all_to_all',
    overlap: {
      tp: run.on('parallelism.enable_async_tensor_parallel') || run.on('compile.enable_async_tensor_parallel'),
      ep: run.on('compile.ep_overlap.enabled'),
      dp: true,
      pp: true,
    },
    stack: 'eager',
  });
}
