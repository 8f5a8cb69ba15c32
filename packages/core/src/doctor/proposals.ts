/** Single changes of a run in the words of the framework that runs it. */
import { deviceCount } from '../cluster/ports.js';
import type { RunSetting } from '../estimate/index.js';
import { architectureOf } from '../frameworks/index.js';
import { checkModelLayout, checkSequence, resolveLayout, type Layout } from '../layout/index.js';
import type { SharingName } from '../memory/index.js';
import { InputError } from '../units/index.js';

export interface Proposal {
  /** Flags or keys to add, or to set anew. */
  readonly flags: string;
  readonly setting: RunSetting;
}

/** Another layout of the same ranks, and whole micro-batches on it; undefined where it can't be. */
function relaid(setting: RunSetting, change: Partial<Layout>): RunSetting | undefined {
  const { tp, cp, pp, ep, etp, sequenceParallel } = setting.layout;
  try {
    const layout = resolveLayout({ tp, cp, pp, ep, etp, sequenceParallel, ...change }, deviceCount(setting.cluster));
    checkModelLayout(setting.model, layout);
    checkSequence(setting.sequence, layout);
    const changed = { ...setting, layout };
    return wholeBatches(changed) ? changed : undefined;
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

const wholeBatches = ({ globalBatch, microBatch, layout }: RunSetting): boolean =>
  Number.isInteger(globalBatch / (microBatch * layout.dp));

function overlapProposals(setting: RunSetting): Proposal[] {
  const { overlap, layout, virtualStages, recompute, model } = setting;
  const on = (flags: string, change: Partial<RunSetting['overlap']>): Proposal => ({
    flags,
    setting: { ...setting, overlap: { ...overlap, ...change } },
  });
  const exchanges = model.experts > 0 && layout.ep > 1;
  return [
    ...(overlap.dp ? [] : [on('--overlap-grad-reduce --overlap-param-gather', { dp: true })]),
    ...(overlap.tp || layout.tp === 1 || !layout.sequenceParallel ? [] : [on('--tp-comm-overlap', { tp: true })]),
    ...(overlap.pp || layout.pp === 1 ? [] : [on('drop --no-overlap-p2p-communication', { pp: true })]),
    // megatron/training/arguments.py: interleaved where there is a pipeline, and no full recompute.
    ...(overlap.ep || !exchanges || (layout.pp > 1 && virtualStages === 1) || recompute === 'full'
      ? []
      : [on('--overlap-moe-expert-parallel-comm', { ep: true })]),
  ];
}

/** Changes of flags of Megatron-LM. */
export function megatronProposals(setting: RunSetting): Proposal[] {
  const { layout, model, cluster, microBatch, recompute, dispatcher, sharing, virtualStages } = setting;
  const backend = architectureOf(cluster.device.name) === 'blackwell' ? 'hybridep' : 'deepep';
  const found = overlapProposals(setting);
  const add = (flags: string, changed: RunSetting | undefined): void => {
    if (changed !== undefined) found.push({ flags, setting: changed });
  };
  if (model.experts > 0 && dispatcher !== 'deduplicated' && layout.ep > 1)
    add(`--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend ${backend}`, {
      ...setting,
      dispatcher: 'deduplicated',
    });
  if (setting.stack === 'eager')
    add('--cuda-graph-impl transformer_engine --cuda-graph-modules attn moe_router', { ...setting, stack: 'graphs' });
  if (recompute !== 'none') add('drop --recompute-granularity', { ...setting, recompute: 'none' });
  if (recompute === 'none') {
    add('--recompute-granularity full --recompute-method uniform --recompute-num-layers 1', {
      ...setting,
      recompute: 'full',
    });
  }
  if (recompute === 'full' || recompute === 'none')
    add('--recompute-granularity selective --recompute-modules layernorm moe_act', {
      ...setting,
      recompute: ['layernorm', 'moe_act'],
    });
  if (sharing === 'none') add('--use-distributed-optimizer', { ...setting, sharing: 'distributed-optimizer' });
  if (layout.etp > 1) add('--expert-tensor-parallel-size 1', relaid(setting, { etp: 1 }));
  for (const tp of [layout.tp / 2, layout.tp * 2])
    if (tp >= 1)
      add(
        `--tensor-model-parallel-size ${tp}${tp > 1 ? ' --sequence-parallel' : ''}`,
        relaid(setting, { tp, etp: Math.min(layout.etp, tp), sequenceParallel: tp > 1 }),
      );
  for (const ep of [layout.ep / 2, layout.ep * 2])
    if (ep >= 1 && model.experts > 0) add(`--expert-model-parallel-size ${ep}`, relaid(setting, { ep }));
  for (const pp of [layout.pp / 2, layout.pp * 2])
    if (pp >= 1 && virtualStages === 1) add(`--pipeline-model-parallel-size ${pp}`, relaid(setting, { pp }));
  for (const batch of [microBatch / 2, microBatch * 2]) {
    const changed = { ...setting, microBatch: batch };
    if (Number.isInteger(batch) && wholeBatches(changed)) add(`--micro-batch-size ${batch}`, changed);
  }
  return found;
}

const zeroStages: readonly SharingName[] = ['none', 'zero1', 'zero2', 'zero3'];

/** Changes of keys of a DeepSpeed configuration. */
export function deepspeedProposals(setting: RunSetting): Proposal[] {
  const { layout, model, microBatch, globalBatch, recompute, overlap, sharing } = setting;
  const found: Proposal[] = [];
  const add = (flags: string, changed: RunSetting | undefined): void => {
    if (changed !== undefined) found.push({ flags, setting: changed });
  };
  if (!overlap.dp) add('zero_optimization.overlap_comm true', { ...setting, overlap: { ...overlap, dp: true } });
  // beside tensor parallelism AutoEP takes stage 2 at most
  const most = layout.tp > 1 && model.experts > 0 ? 2 : 3;
  for (const [stage, name] of zeroStages.entries())
    if (stage > 0 && stage <= most && name !== sharing)
      add(`zero_optimization.stage ${stage}`, { ...setting, sharing: name });
  if (recompute === 'none') add('gradient_checkpointing_enable() of the model', { ...setting, recompute: 'full' });
  else add('drop gradient checkpointing', { ...setting, recompute: 'none' });
  for (const ep of [layout.ep / 2, layout.ep * 2])
    if (ep >= 1 && model.experts > 0) add(`expert_parallel.autoep_size ${ep}`, relaid(setting, { ep }));
  for (const tp of [layout.tp / 2, layout.tp * 2])
    if (tp >= 1) add(`tensor_parallel.autotp_size ${tp}`, relaid(setting, { tp, etp: 1 }));
  for (const batch of [microBatch / 2, microBatch * 2]) {
    const changed = { ...setting, microBatch: batch };
    if (Number.isInteger(batch) && wholeBatches(changed))
      add(
        `train_micro_batch_size_per_gpu ${batch}, gradient_accumulation_steps ${globalBatch / (batch * layout.dp)}`,
        changed,
      );
  }
  return found;
}

/** Changes of keys of a torchtitan configuration, its names with sections. */
export function torchtitanProposals(setting: RunSetting): Proposal[] {
  const { layout, model, cluster, microBatch, recompute, dispatcher, overlap, virtualStages } = setting;
  const found: Proposal[] = [];
  const add = (flags: string, changed: RunSetting | undefined): void => {
    if (changed !== undefined) found.push({ flags, setting: changed });
  };
  const experts = model.experts > 0;
  const backend = architectureOf(cluster.device.name) === 'blackwell' ? 'hybridep' : 'deepep';
  if (experts && layout.ep > 1 && dispatcher !== 'deduplicated')
    add(`parallelism.expert_parallel_comm_backend ${backend}`, { ...setting, dispatcher: 'deduplicated' });
  if (!overlap.tp && layout.tp > 1)
    add('compile.enable_async_tensor_parallel true', { ...setting, overlap: { ...overlap, tp: true } });
  const modes = { none: 'none', selective: ['layernorm', 'moe_act'], full: 'full' } as const;
  for (const [mode, changed] of Object.entries(modes))
    if (String(changed) !== String(recompute))
      add(`activation_checkpoint.mode ${mode}`, { ...setting, recompute: changed });
  const sizes: readonly (readonly [key: string, axis: 'ep' | 'tp' | 'cp' | 'pp', possible: boolean])[] = [
    ['expert', 'ep', experts],
    ['tensor', 'tp', true],
    ['context', 'cp', true],
    ['pipeline', 'pp', virtualStages === 1],
  ];
  for (const [key, axis, possible] of sizes)
    for (const size of [layout[axis] / 2, layout[axis] * 2]) {
      if (!possible || size < 1) continue;
      const { layersOfStages: _, ...even } = setting;
      const from = axis === 'pp' ? even : setting;
      const changed = { [axis]: size, etp: 1, ...(axis === 'tp' ? { sequenceParallel: size > 1 } : {}) };
      add(`parallelism.${key}_parallel_degree ${size}`, relaid(from, changed));
    }
  for (const batch of [microBatch / 2, microBatch * 2]) {
    const changed = { ...setting, microBatch: batch };
    const key = layout.pp > 1 ? 'parallelism.pipeline_parallel_microbatch_size' : 'training.local_batch_size';
    if (Number.isInteger(batch) && wholeBatches(changed)) add(`${key} ${batch}`, changed);
  }
  return found;
}
