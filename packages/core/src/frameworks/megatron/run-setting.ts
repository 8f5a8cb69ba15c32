/** What a Megatron run is for the price of its step. */
import type { Cluster } from '../../cluster/cluster.js';
import { runOfMemory, type ComputePrecision, type DispatchKind, type RunSetting } from '../../estimate/index.js';
import type { MoeModel } from '../../model/model.js';
import { notTold, type NotPriced } from '../not-priced.js';
import { plannedBy } from './planned-run.js';
import { memoryOfRun } from './run-memory.js';
import type { MegatronRun } from './run.js';

const dispatchers: Readonly<Record<string, DispatchKind>> = {
  alltoall: 'all_to_all',
  allgather: 'gathered',
  flex: 'deduplicated',
};

function precisionOf(run: MegatronRun): ComputePrecision {
  if (run.given('fp4')) return 'nvfp4';
  if (!run.given('fp8')) return 'bf16';
  return run.text('fp8_recipe') === 'mxfp8' ? 'mxfp8' : 'fp8';
}

/**
 * Undefined where degrees, ranks, batch or sequence are not known. Throws `InputError` for a model that the degrees do
 * not divide.
 */
export function settingOfRun(run: MegatronRun, model: MoeModel, cluster: Cluster): RunSetting | undefined {
  const memory = memoryOfRun(run, model)?.setting;
  const globalBatch = run.number('global_batch_size');
  if (memory === undefined || globalBatch === undefined || run.microBatches === undefined) return undefined;
  return runOfMemory(memory, cluster, {
    globalBatch,
    ...(memory.step.layersOfStages === undefined ? {} : { layersOfStages: memory.step.layersOfStages }),
    precision: precisionOf(run),
    // Recipes of Megatron-Bridge that leave it open take alltoall or flex.
    dispatcher: dispatchers[run.text('moe_token_dispatcher_type') ?? 'alltoall'] ?? 'gathered',
    overlap: {
      tp: run.on('tp_comm_overlap'),
      ep: run.on('overlap_moe_expert_parallel_comm'),
      dp: run.on('overlap_grad_reduce'),
      pp: run.on('overlap_p2p_comm'),
    },
    stack: run.text('cuda_graph_impl') === 'none' || run.text('cuda_graph_impl') === undefined ? 'eager' : 'graphs',
    capacity: run.given('moe_expert_capacity_factor'),
    ...(run.on('use_tp_pp_dp_mapping') ? { rankOrder: 'pp-dp' } : {}),
  });
}

/** Fields that a step needs, by their flags. */
const needed = {
  micro_batch_size: '--micro-batch-size',
  global_batch_size: '--global-batch-size',
  seq_length: '--seq-length',
} as const;

/** Why flags make no step (`settingOfRun`). */
export const whyNoStep = (run: MegatronRun): NotPriced =>
  notTold(Object.entries(needed).flatMap(([field, flag]) => (run.number(field) === undefined ? [flag] : []))) ??
  (plannedBy(run) === undefined
    ? { why: 'degrees and ranks are not known, or make no layout' }
    : { why: 'the batch does not divide into micro-batches of all replicas' });
