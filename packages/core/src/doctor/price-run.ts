/** What a run's flags cost: its step and memory, single changes that would make it faster, and the best plan beside. */
import { deviceCount } from '../cluster/ports.js';
import { estimateMemory, estimateStep, type RunSetting, type StepEstimate } from '../estimate/index.js';
import { checkModelLayout, resolveLayout, type Layout } from '../layout/index.js';
import { EstimateModel, Search, type PlanCandidate } from '../plan/index.js';
import { architectureOf } from '../frameworks/index.js';
import { InputError } from '../units/index.js';

/** One change of flags, and the run with it. */
export interface RunChange {
  /** Flags of Megatron-LM to add, or to set anew. */
  readonly flags: string;
  readonly seconds: number;
  /** Share of the step that it saves; below 0 where it takes longer. */
  readonly gain: number;
  readonly memoryBytes: number;
}

export interface PricedSetting {
  readonly setting: RunSetting;
  readonly estimate: StepEstimate;
  /** Of the fullest device. */
  readonly memoryBytes: number;
  /** Changes that fit, the fastest first: those that save time, or any where the run itself does not fit. */
  readonly changes: readonly RunChange[];
  /** The fastest that Megatron can run of the whole space; undefined where nothing fits. */
  readonly best: PlanCandidate | undefined;
}

interface Proposal {
  readonly flags: string;
  readonly setting: RunSetting;
}

/** Another layout of the same ranks, and whole micro-batches on it; undefined where it can't be. */
function relaid(setting: RunSetting, change: Partial<Layout>): RunSetting | undefined {
  const { tp, cp, pp, ep, etp, sequenceParallel } = setting.layout;
  try {
    const layout = resolveLayout({ tp, cp, pp, ep, etp, sequenceParallel, ...change }, deviceCount(setting.cluster));
    checkModelLayout(setting.model, layout);
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

function proposals(setting: RunSetting): Proposal[] {
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

/** What a change saves at least, for it to be named. */
const leastGain = 0.005;

/** The price of a run on its cluster. Throws `InputError` where the cluster's tiers or the layout can't be priced. */
export function priceRun(setting: RunSetting): PricedSetting {
  const estimate = estimateStep(setting);
  const memoryBytes = estimateMemory(setting);
  const capacity = setting.cluster.device.memoryBytes;
  const changes = proposals(setting)
    .map(({ flags, setting: changed }): RunChange => {
      const { seconds } = estimateStep(changed);
      return { flags, seconds, gain: 1 - seconds / estimate.seconds, memoryBytes: estimateMemory(changed) };
    })
    .filter((change) => change.memoryBytes <= capacity && (change.gain > leastGain || memoryBytes > capacity))
    .sort((a, b) => b.gain - a.gain);
  return { setting, estimate, memoryBytes, changes, best: bestOf(setting) };
}

function bestOf(setting: RunSetting): PlanCandidate | undefined {
  const { model, cluster, sequence, globalBatch, precision, states, stack, imbalance } = setting;
  const search = new Search(
    {
      model,
      cluster,
      sequence,
      globalBatch,
      bounds: {},
      fixed: {},
      precision,
      states,
      stack,
      imbalance: imbalance === 'natural' ? 1 : imbalance,
      framework: 'megatron',
    },
    new EstimateModel(),
  );
  try {
    const run = search.run();
    while (run.next().done !== true);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
  return search.result.best;
}
