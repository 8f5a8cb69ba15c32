/** What a person could change of a step to take less memory, and what each change costs in time. */
import {
  checkModelLayout,
  costModel,
  deviceCount,
  fitOf,
  formatPercent,
  InputError,
  predictStep,
  resolveLayout,
  unpricedInStep,
  type Cluster,
  type Layout,
  type MemorySetting,
  type StepShape,
} from '@monta/core';

export interface MemoryChange {
  readonly what: string;
  readonly totalBytes: number;
  /** `+12 % predicted`, or why it is not known. */
  readonly time: string;
}

interface Proposal {
  readonly what: string;
  readonly setting: MemorySetting;
  /** In words, where no step of the two is told apart by a price. */
  readonly time?: string;
}

/** Another layout of the same devices, where the model can be split so. */
function relaid(setting: MemorySetting, cluster: Cluster, change: Partial<Layout>): MemorySetting | undefined {
  const { tp, cp, pp, ep, etp, sequenceParallel } = setting.step.layout;
  try {
    const layout = resolveLayout({ tp, cp, pp, ep, etp, sequenceParallel, ...change }, deviceCount(cluster));
    checkModelLayout(setting.step.model, layout);
    const { microBatches } = setting.step;
    return {
      ...setting,
      step: { ...setting.step, layout, microBatches: Math.max(microBatches, layout.pp), virtualStages: 1 },
    };
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

function proposals(setting: MemorySetting, cluster: Cluster): Proposal[] {
  const { step, sharing, precision } = setting;
  const { layout, model, sequences, microBatches, recompute = 'none' } = step;
  const found: Proposal[] = [];
  const add = (what: string, changed: MemorySetting | undefined, time?: string): void => {
    if (changed !== undefined) found.push({ what, setting: changed, ...(time === undefined ? {} : { time }) });
  };
  if (sharing === 'none')
    add(
      '--sharing distributed-optimizer',
      { ...setting, sharing: 'distributed-optimizer' },
      'the same bytes: reduce-scatter and all-gather in place of all-reduce',
    );
  if (sharing !== 'fsdp' && sharing !== 'zero3')
    add(
      '--sharing fsdp',
      { ...setting, sharing: 'fsdp' },
      'weights are gathered in both passes of every micro-batch; not priced',
    );
  if (precision === 'mixed')
    add('--precision bf16-moments', { ...setting, precision: 'bf16-moments' }, 'none to speak of');
  if (recompute === 'none') {
    add('--recompute layernorm,mlp,moe', { ...setting, step: { ...step, recompute: ['layernorm', 'mlp', 'moe'] } });
    add('--recompute full', { ...setting, step: { ...step, recompute: 'full' } });
  }
  if (layout.tp > 1 && !layout.sequenceParallel)
    add('sequence parallelism (sp)', relaid(setting, cluster, { sequenceParallel: true }));
  const node = cluster.tiers[0]?.size ?? 1;
  if (layout.tp < node)
    add(`tp=${2 * layout.tp}, sp`, relaid(setting, cluster, { tp: 2 * layout.tp, sequenceParallel: true }));
  if (model.experts >= 2 * layout.ep) add(`ep=${2 * layout.ep}`, relaid(setting, cluster, { ep: 2 * layout.ep }));
  add(`pp=${2 * layout.pp}`, relaid(setting, cluster, { pp: 2 * layout.pp }), 'bubbles of the pipeline; not priced');
  if (sequences > 1)
    add(`half the sequences a micro-batch, twice the micro-batches`, {
      ...setting,
      step: { ...step, sequences: Math.ceil(sequences / 2), microBatches: 2 * microBatches },
    });
  return found;
}

/** Seconds a token of a step, where its program is priced whole. */
function secondsPerToken(step: StepShape, cluster: Cluster): number | undefined {
  if (step.layout.pp > 1 || step.layout.cp > 1 || unpricedInStep(step.model).length > 0) return undefined;
  const prediction = predictStep({
    cluster,
    step,
    routing: { kind: 'uniform' },
    seed: 1,
    model: costModel(cluster.device),
  });
  return prediction.known ? 1 / prediction.tokensPerSecond : undefined;
}

/** Changes that take less memory than the setting, most first. */
export function memoryChanges(setting: MemorySetting, cluster: Cluster): MemoryChange[] {
  const now = fitOf(setting, cluster).totalBytes;
  const less = proposals(setting, cluster)
    .map((proposal) => ({ ...proposal, totalBytes: fitOf(proposal.setting, cluster).totalBytes }))
    .filter(({ totalBytes }) => totalBytes < now)
    .sort((a, b) => a.totalBytes - b.totalBytes);
  const priced = less.some(({ time }) => time === undefined);
  const before = priced ? secondsPerToken(setting.step, cluster) : undefined;
  return less.map(({ what, setting: changed, totalBytes, time }): MemoryChange => {
    if (time !== undefined) return { what, totalBytes, time };
    const after = before === undefined ? undefined : secondsPerToken(changed.step, cluster);
    if (before === undefined || after === undefined) return { what, totalBytes, time: 'not priced' };
    const share = after / before - 1;
    return { what, totalBytes, time: `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))} a token, predicted` };
  });
}
