/** Bytes of a whole step by tier, predicted and counted. */
import { portsOf, type Cluster } from '../cluster/index.js';
import { moeShape, trainingStep, type StepShape } from '../schedule/index.js';
import { traffic } from '../traffic/index.js';
import { routedBinding } from './workload.js';

/** Bytes that crossed one tier in one step, summed over ranks. */
export interface StepBytes {
  readonly tier: string;
  readonly predictedBytes: number;
  /** Counted while running; absent when nothing counted them. */
  readonly countedBytes?: number;
}

/** What the ports of a job counted. */
export interface CountedBytes {
  /** In the order of `portsOf`; empty where nothing counted. */
  readonly portBytes: Float64Array;
  readonly steps: number;
  readonly evaluationBatches: number;
}

/**
 * Bytes that cross each tier in one step, over all ranks: predicted for even routing, and counted at the emulated ports
 * over the whole job. Evaluation passes through the same ports, so the count is scaled by the share of predicted bytes
 * that steps have in the job.
 */
export function stepBytes(cluster: Cluster, step: StepShape, seed: number, counted?: CountedBytes): StepBytes[] {
  const binding = routedBinding(moeShape(step), { kind: 'uniform' }, seed);
  const program = trainingStep(step);
  const sumByTier = (onlyForward: boolean): number[] => {
    const nodes = onlyForward
      ? program.nodes.filter(({ pass, microBatch }) => pass === 'forward' && microBatch === 0)
      : program.nodes;
    const { sent } = traffic({ program: { ...program, nodes }, layout: step.layout, cluster, binding });
    return cluster.tiers.map((_, tier) => sent.reduce((sum, row) => sum + (row[tier] ?? 0), 0));
  };
  const predicted = sumByTier(false);
  const forward = sumByTier(true);
  return cluster.tiers.map(({ name }, tier) => {
    const predictedBytes = predicted[tier] ?? 0;
    if (!counted || counted.portBytes.length === 0) return { tier: name, predictedBytes };
    const all = portsOf(cluster).reduce(
      (sum, port, index) =>
        port.tier === tier && port.direction === 'egress' ? sum + (counted.portBytes[index] ?? 0) : sum,
      0,
    );
    const expected = counted.steps * predictedBytes + counted.evaluationBatches * (forward[tier] ?? 0);
    return { tier: name, predictedBytes, countedBytes: expected > 0 ? (all / expected) * predictedBytes : all };
  });
}
