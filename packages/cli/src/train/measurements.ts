/** From what a job reported to the figures that a person is shown. */
import {
  laneTimes,
  moeShape,
  portsOf,
  routedBinding,
  traffic,
  trainingStep,
  type Cluster,
  type Span,
  type StepShape,
  type Trace,
} from '@monta/core';
import type { TrainResult } from '@monta/runtime';
import type { LaneSeconds, TierBytesReport } from '@monta/views';

/** First steps touch memory for the first time and compile code; they are left out of times. */
export const warmUpSteps = (steps: number): number => Math.min(10, Math.floor(steps / 4));

/** Times of the steps after warm-up, seconds. */
export const stepTimes = (result: TrainResult): number[] =>
  result.steps.slice(warmUpSteps(result.steps.length)).map(({ seconds }) => seconds);

/** Mean over ranks and steps of what lanes were busy with, and of waiting for peers. */
export function laneSeconds(trace: Trace): LaneSeconds {
  const steps = new Map<number, Span[]>();
  for (const span of trace.spans) {
    const list = steps.get(span.step);
    if (list) list.push(span);
    else steps.set(span.step, [span]);
  }
  const total = { compute: 0, inter: 0, intra: 0, copy: 0, waiting: 0 };
  let samples = 0;
  for (const spans of steps.values())
    for (const rank of laneTimes({ ...trace, spans }).ranks) {
      samples++;
      for (const { lane, busySeconds, waitingSeconds } of rank.lanes) {
        total[lane] += busySeconds;
        total.waiting += waitingSeconds;
      }
    }
  const mean = (value: number): number => (samples > 0 ? value / samples : 0);
  return {
    compute: mean(total.compute),
    inter: mean(total.inter),
    intra: mean(total.intra),
    copy: mean(total.copy),
    waiting: mean(total.waiting),
  };
}

/**
 * Bytes that cross each tier in one step, over all ranks: predicted for even routing, and counted at the emulated ports over the whole job.
 * Evaluation passes through the same ports, so the count is scaled by the share of predicted bytes that steps have in the job.
 */
export function tierBytes(
  cluster: Cluster,
  step: StepShape,
  seed: number,
  counted?: { readonly portBytes: Float64Array; readonly steps: number; readonly evaluationBatches: number },
): TierBytesReport[] {
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
