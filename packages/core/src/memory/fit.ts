/** Whether a step fits into a cluster's devices, and what near it does. */
import type { Cluster } from '../cluster/cluster.js';
import { deviceCount } from '../cluster/ports.js';
import { checkModelLayout, checkSequence } from '../layout/check.js';
import { resolveLayout } from '../layout/resolve.js';
import type { Recompute } from '../schedule/recompute.js';
import type { StepShape } from '../schedule/step-shape.js';
import { InputError } from '../units/errors.js';
import { maxOf, minOf } from '../units/index.js';
import type { MemorySetting } from './setting.js';
import { closedTotal, leastStates, overheadsOf } from './stage-memory.js';
import { checkWeightShards } from './states.js';

export interface MemoryFit {
  /** Whether the fullest device's bytes are within its capacity. */
  readonly fits: boolean;
  readonly capacityBytes: number;
  /** Of the fullest stage's devices. */
  readonly totalBytes: number;
}

const fullest = (setting: MemorySetting, { device }: Cluster): number =>
  maxOf(Array.from({ length: setting.step.layout.pp }, (_, stage) => closedTotal(setting, stage, overheadsOf(device))));

/** The fullest device beside what there is, in closed form. */
export function fitOf(setting: MemorySetting, cluster: Cluster): MemoryFit {
  const totalBytes = fullest(setting, cluster);
  const capacityBytes = cluster.device.memoryBytes;
  return { fits: totalBytes <= capacityBytes, capacityBytes, totalBytes };
}

/** Whether it fits: for searches, which need no more. */
export function fitsClosed(setting: MemorySetting, { device }: Cluster): boolean {
  const { pp } = setting.step.layout;
  // The first stage holds most passes, the last one the logits: most that does not fit fails there.
  const stages = new Set([0, pp - 1, ...Array.from({ length: pp }, (_, stage) => stage)]);
  const overheads = overheadsOf(device);
  return [...stages].every((stage) => closedTotal(setting, stage, overheads) <= device.memoryBytes);
}

/** The setting with a forward beside another micro-batch's backward. */
export const withPassesInPairs = (setting: MemorySetting): MemorySetting => ({
  ...setting,
  step: { ...setting.step, passes: 'beside' },
});

/**
 * Whether a step has passes to run in pairs, and fits so: pairs hold what both layers at work need, and a pipeline
 * orders its passes itself.
 */
export function roomForPairs(setting: MemorySetting, cluster: Cluster): boolean {
  const { layout, microBatches } = setting.step;
  return layout.pp === 1 && microBatches > 1 && fitsClosed(withPassesInPairs(setting), cluster);
}

/** A setting and how far it is from the one that was asked for. */
interface Variant {
  readonly setting: MemorySetting;
  readonly distance: number;
}

const powersUpTo = (most: number): number[] => {
  const powers: number[] = [];
  for (let power = 1; power <= most; power *= 2) powers.push(power);
  return powers;
};

/** How many doublings lie between two degrees. */
const doublings = (a: number, b: number): number => Math.abs(Math.log2(a / b));

/**
 * Further away what costs more time: full recomputation, then states that change numerics or are gathered in every
 * layer.
 */
const changed = { selective: 0.5, full: 1.5, sharing: 1, moments: 2, pipeline: 1.5, passes: 0.25 };

/** The step with no forward beside another micro-batch's backward: as a pipeline, which orders its passes itself. */
export const oneBehindAnother = (step: StepShape): StepShape =>
  step.passes === 'beside' ? { ...step, passes: 'behind' } : step;

/** Layouts of the same devices, attention and experts mapped apart. */
function layoutVariants(setting: MemorySetting, cluster: Cluster): Variant[] {
  const { layout, model, sequence, microBatches } = setting.step;
  const world = deviceCount(cluster);
  const node = cluster.tiers[0]?.size ?? world;
  const found: Variant[] = [];
  for (const tp of powersUpTo(node))
    for (const pp of powersUpTo(Math.min(model.layers, world / tp)))
      for (const ep of model.experts > 0 ? powersUpTo(Math.min(model.experts, world)) : [1])
        for (const etp of model.experts > 0 ? new Set([1, tp]) : [tp]) {
          const sequenceParallel = tp > 1 && (layout.sequenceParallel || tp !== layout.tp);
          try {
            const other = resolveLayout({ tp, cp: layout.cp, pp, ep, etp, sequenceParallel }, world);
            checkModelLayout(model, other);
            checkSequence(sequence, other);
            if (setting.weightShards !== undefined) checkWeightShards(setting.weightShards, other, setting.sharing);
            const step = {
              ...(pp > 1 ? oneBehindAnother(setting.step) : setting.step),
              layout: other,
              virtualStages: 1,
              microBatches: Math.max(microBatches, pp),
            };
            const distance =
              doublings(tp, layout.tp) +
              doublings(ep, layout.ep) +
              (model.experts > 0 ? 0.5 * doublings(etp, layout.etp) : 0) +
              changed.pipeline * doublings(pp, layout.pp);
            found.push({ setting: { ...setting, step }, distance });
          } catch (error) {
            if (!(error instanceof InputError)) throw error;
          }
        }
  return found;
}

/** The setting, and where a forward runs beside another micro-batch's backward the same without. */
const passVariants = ({ setting, distance }: Variant): Variant[] => [
  { setting, distance },
  ...(setting.step.passes === 'beside'
    ? [{ setting: { ...setting, step: oneBehindAnother(setting.step) }, distance: distance + changed.passes }]
    : []),
];

function stateVariants({ setting, distance }: Variant): Variant[] {
  const sharings = setting.sharing === 'none' ? (['none', 'distributed-optimizer'] as const) : [setting.sharing];
  const precisions = setting.precision === 'mixed' ? (['mixed', 'bf16-moments'] as const) : [setting.precision];
  const asked: Recompute = setting.step.recompute ?? 'none';
  const recomputes: readonly Recompute[] = asked === 'full' ? ['full'] : [asked, ['layernorm', 'mlp', 'moe'], 'full'];
  return sharings.flatMap((sharing) =>
    precisions.flatMap((precision) =>
      recomputes.map((recompute, place) => ({
        setting: { ...setting, sharing, precision, step: { ...setting.step, recompute } },
        distance:
          distance +
          (sharing === setting.sharing ? 0 : changed.sharing) +
          (precision === setting.precision ? 0 : changed.moments) +
          ([0, changed.selective + 0.5, changed.full][place] ?? 0),
      })),
    ),
  );
}

export interface NearestFit {
  /** Undefined where none fits. */
  readonly setting: MemorySetting | undefined;
  /** The least that any variant needs, where none fits. */
  readonly leastBytes: number;
}

/** Variants that are looked at for the least that is needed. */
const tried = 8;

/**
 * The nearest setting on the same devices that fits: other degrees, recomputation, a distributed optimizer, at last
 * moments in 16 bits. Settings that are `preferred` come before all others.
 */
export function nearestFit(
  setting: MemorySetting,
  cluster: Cluster,
  preferred: (setting: MemorySetting) => boolean = () => true,
): NearestFit {
  const variants = layoutVariants(setting, cluster)
    .flatMap(stateVariants)
    .flatMap(passVariants)
    .map((variant) => ({ ...variant, states: leastStates(variant.setting) }));
  const near = variants
    .filter(({ states }) => states <= cluster.device.memoryBytes)
    .sort((a, b) => Number(preferred(b.setting)) - Number(preferred(a.setting)) || a.distance - b.distance)
    .find((variant) => fitsClosed(variant.setting, cluster))?.setting;
  if (near !== undefined) return { setting: near, leastBytes: fullest(near, cluster) };
  // Where states decide, whatever has the fewest of them, with everything computed again.
  const smallest = variants
    .filter(({ setting: { step } }) => step.recompute === 'full')
    .sort((a, b) => a.states - b.states)
    .slice(0, tried);
  return { setting: undefined, leastBytes: minOf(smallest.map((variant) => fullest(variant.setting, cluster))) };
}
