/** What a person could change of a step to take less memory, and what each change costs in time. */
import type { Cluster, Layout, MemorySetting } from '@monta/core';
import { formatPercent, InputError } from '@monta/core/units';
import { deviceCount } from '@monta/core/cluster';
import { checkModelLayout, checkSequence, resolveLayout } from '@monta/core/layout';
import { estimateStep, runOfMemory } from '@monta/core/estimate';
import { fitOf, oneBehindAnother } from '@monta/core/memory';

export interface MemoryChange {
  /** The flag that would change. */
  readonly what: string;
  readonly totalBytes: number;
  /** `+12 % a token, estimated`. */
  readonly time: string;
}

interface Proposal {
  readonly what: string;
  readonly setting: MemorySetting;
  /** Whether the closed form of a step's time knows nothing of it. */
  readonly untimed?: boolean;
}

/** Another layout of the same devices, where the model can be split so. */
function relaid(setting: MemorySetting, cluster: Cluster, change: Partial<Layout>): MemorySetting | undefined {
  const { tp, cp, pp, ep, etp, sequenceParallel } = setting.step.layout;
  try {
    const layout = resolveLayout({ tp, cp, pp, ep, etp, sequenceParallel, ...change }, deviceCount(cluster));
    checkModelLayout(setting.step.model, layout);
    checkSequence(setting.step.sequence, layout);
    const { microBatches, layout: before } = setting.step;
    // As many tokens a step as before, where each stage then has a micro-batch.
    const same = Math.ceil((microBatches * before.dp) / layout.dp);
    const step = layout.pp > 1 ? oneBehindAnother(setting.step) : setting.step;
    return { ...setting, step: { ...step, layout, microBatches: Math.max(same, layout.pp), virtualStages: 1 } };
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

function proposals(setting: MemorySetting, cluster: Cluster): Proposal[] {
  const { step, sharing, precision } = setting;
  const { layout, model, sequences, microBatches, recompute = 'none' } = step;
  const found: Proposal[] = [];
  const add = (what: string, changed: MemorySetting | undefined): void => {
    if (changed !== undefined) found.push({ what, setting: changed });
  };
  if (sharing === 'none') add('--sharing distributed-optimizer', { ...setting, sharing: 'distributed-optimizer' });
  if (sharing !== 'fsdp' && sharing !== 'zero3') add('--sharing fsdp', { ...setting, sharing: 'fsdp' });
  if (precision === 'mixed') add('--precision bf16-moments', { ...setting, precision: 'bf16-moments' });
  if (recompute === 'none') {
    add('--recompute layernorm,mlp,moe', { ...setting, step: { ...step, recompute: ['layernorm', 'mlp', 'moe'] } });
    add('--recompute full', { ...setting, step: { ...step, recompute: 'full' } });
  }
  if (step.passes === 'beside' && microBatches > 1)
    found.push({ what: '--no-overlap-passes', setting: { ...setting, step: oneBehindAnother(step) }, untimed: true });
  if (layout.tp > 1 && !layout.sequenceParallel)
    add('sequence parallelism (sp)', relaid(setting, cluster, { sequenceParallel: true }));
  const node = cluster.tiers[0]?.size ?? 1;
  if (layout.tp < node)
    add(`tp=${2 * layout.tp}, sp`, relaid(setting, cluster, { tp: 2 * layout.tp, sequenceParallel: true }));
  if (model.experts >= 2 * layout.ep) add(`ep=${2 * layout.ep}`, relaid(setting, cluster, { ep: 2 * layout.ep }));
  add(`pp=${2 * layout.pp}`, relaid(setting, cluster, { pp: 2 * layout.pp }));
  if (sequences > 1)
    add(`half the sequences a micro-batch, twice the micro-batches`, {
      ...setting,
      step: { ...step, sequences: Math.ceil(sequences / 2), microBatches: 2 * microBatches },
    });
  return found;
}

/** Changes that take less memory than the setting, most first. */
export function memoryChanges(setting: MemorySetting, cluster: Cluster): MemoryChange[] {
  const now = fitOf(setting, cluster).totalBytes;
  const rate = (of: MemorySetting): number => estimateStep(runOfMemory(of, cluster)).tokensPerSecondPerGpu;
  const before = rate(setting);
  return proposals(setting, cluster)
    .map((proposal) => ({ ...proposal, totalBytes: fitOf(proposal.setting, cluster).totalBytes }))
    .filter(({ totalBytes }) => totalBytes < now)
    .sort((a, b) => a.totalBytes - b.totalBytes)
    .map(({ what, setting: changed, totalBytes, untimed = false }): MemoryChange => {
      if (untimed) return { what, totalBytes, time: 'not estimated: monta plan --layout simulates it' };
      const share = before / rate(changed) - 1;
      const text = `${share < 0 ? '−' : '+'}${formatPercent(Math.abs(share))} a token, estimated`;
      return { what, totalBytes, time: Math.abs(share) < 5e-4 ? 'none to speak of' : text };
    });
}
