/** Bytes by tier: of a whole step, predicted, and of a run, predicted and counted. */
import { portsOf, type Cluster } from '../cluster/index.js';
import { moeShape, trainingStep, type StepShape } from '../schedule/index.js';
import { traffic } from '../traffic/index.js';
import { formatBytes } from '../units/index.js';
import type { RunPlan } from './run-plan.js';
import { settingStep, type TrainingSetting } from './training-setting.js';
import { routedBinding } from './workload.js';

/** Bytes that crossed one tier, summed over ranks. */
export interface StepBytes {
  readonly tier: string;
  readonly predictedBytes: number;
  /** Counted while running; absent when nothing counted them. */
  readonly countedBytes?: number;
}

/** Bytes by tier of a step's program, or of the forward pass of one micro-batch: what an evaluation batch moves. */
function sentByTier(cluster: Cluster, step: StepShape, seed: number, part: 'all' | 'evaluation'): number[] {
  const binding = routedBinding(moeShape(step), { kind: 'uniform' }, seed);
  const program = trainingStep(step);
  const nodes =
    part === 'all'
      ? program.nodes
      : program.nodes.filter(({ pass, microBatch }) => pass === 'forward' && microBatch === 0);
  const { sent } = traffic({ program: { ...program, nodes }, layout: step.layout, cluster, binding });
  return cluster.tiers.map((_, tier) => sent.reduce((sum, row) => sum + (row[tier] ?? 0), 0));
}

/** Bytes that cross each tier in one step, over all ranks, predicted for even routing. */
export function stepBytes(cluster: Cluster, step: StepShape, seed: number): StepBytes[] {
  const predicted = sentByTier(cluster, step, seed, 'all');
  return cluster.tiers.map(({ name }, tier) => ({ tier: name, predictedBytes: predicted[tier] ?? 0 }));
}

/**
 * Bytes of all ranks that cross the outermost tier in a step of a run's plan, and how many times fewer they are than
 * with the baseline, in words; undefined where none cross it, or where no baseline was compared.
 */
export function networkShare(setting: TrainingSetting, { chosen, compared }: RunPlan): string | undefined {
  const { cluster, seed } = setting.config;
  const baseline = compared.find(({ role }) => role === 'baseline');
  if (baseline === undefined) return undefined;
  const [own, theirs] = [chosen, baseline].map(
    ({ strategy, overlap }) =>
      stepBytes(cluster, settingStep(setting, strategy, overlap), seed).at(-1)?.predictedBytes ?? 0,
  );
  if (own === undefined || theirs === undefined || own === 0) return undefined;
  return `network ${formatBytes(own)} a step, ${(theirs / own).toFixed(1)}x less than duplicated`;
}

/** Steps of a run that were done in one way. */
export interface RunPart {
  readonly step: StepShape;
  readonly steps: number;
  readonly evaluationBatches: number;
}

/**
 * Bytes that crossed each tier in a whole run, evaluation included, over all ranks: predicted for even routing, and
 * counted at the emulated ports (`portBytes`, in the order of `portsOf`; empty where nothing counted).
 */
export function runBytes(
  cluster: Cluster,
  parts: readonly RunPart[],
  seed: number,
  portBytes: Float64Array,
): StepBytes[] {
  const predicted = cluster.tiers.map(() => 0);
  for (const { step, steps, evaluationBatches } of parts) {
    const ofStep = sentByTier(cluster, step, seed, 'all');
    const ofBatch = sentByTier(cluster, step, seed, 'evaluation');
    predicted.forEach((_, tier) => {
      predicted[tier] = (predicted[tier] ?? 0) + steps * (ofStep[tier] ?? 0) + evaluationBatches * (ofBatch[tier] ?? 0);
    });
  }
  const ports = portsOf(cluster);
  return cluster.tiers.map(({ name }, tier) => {
    const predictedBytes = predicted[tier] ?? 0;
    if (portBytes.length === 0) return { tier: name, predictedBytes };
    const countedBytes = ports.reduce(
      (sum, port, index) => (port.tier === tier && port.direction === 'egress' ? sum + (portBytes[index] ?? 0) : sum),
      0,
    );
    return { tier: name, predictedBytes, countedBytes };
  });
}
