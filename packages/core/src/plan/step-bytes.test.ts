import { describe, expect, it } from 'vitest';
import { getCluster, portsOf } from '../cluster/index.js';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { inChunks, namedStrategies, type StepShape } from '../schedule/index.js';
import { runBytes, stepBytes } from './step-bytes.js';

describe('bytes of a run', () => {
  const cluster = getCluster('laptop-2x4');
  const step: StepShape = {
    model: getModel('tiny-bytes'),
    layout: resolveLayout({ tp: 4, dp: 2, ep: 2 }),
    sequence: 128,
    sequences: 2,
    microBatches: 2,
    dtype: 'f32',
    strategy: inChunks(namedStrategies.scattered, 2),
  };
  const duplicated: StepShape = { ...step, strategy: inChunks(namedStrategies.duplicated, 1) };
  const ofStep = (one: StepShape) => stepBytes(cluster, one, 1).map(({ predictedBytes }) => predictedBytes);
  const none = new Float64Array();

  it('are the sum over its parts', () => {
    expect(ofStep(step).every((bytes) => bytes > 0)).toBe(true);
    const run = runBytes(
      cluster,
      [
        { step, steps: 3, evaluationBatches: 0 },
        { step: duplicated, steps: 2, evaluationBatches: 0 },
      ],
      1,
      none,
    );
    run.forEach(({ predictedBytes, countedBytes }, tier) => {
      expect(predictedBytes).toBeCloseTo(3 * (ofStep(step)[tier] ?? NaN) + 2 * (ofStep(duplicated)[tier] ?? NaN), 3);
      expect(countedBytes).toBeUndefined();
    });
  });

  it('have the forward pass of one micro-batch for a batch of evaluation', () => {
    // Of two like micro-batches, forward and backward, twice as many move twice as much besides the update.
    const double = ofStep({ ...step, microBatches: 4 });
    const perMicroBatch = ofStep(step).map((bytes, tier) => ((double[tier] ?? NaN) - bytes) / 2);
    const batch = runBytes(cluster, [{ step, steps: 0, evaluationBatches: 1 }], 1, none);
    batch.forEach(({ predictedBytes }, tier) => {
      const share = predictedBytes / (perMicroBatch[tier] ?? NaN);
      expect(share).toBeGreaterThan(0.3);
      expect(share).toBeLessThan(0.7);
    });
  });

  it('are counted on the way out', () => {
    const portBytes = Float64Array.from(portsOf(cluster), ({ tier, direction }) =>
      direction === 'egress' ? 10 ** (tier + 1) : 1e12,
    );
    const egress = (tier: number) =>
      portsOf(cluster).filter((port) => port.tier === tier && port.direction === 'egress').length;
    const counted = runBytes(cluster, [], 1, portBytes).map(({ countedBytes }) => countedBytes);
    expect(counted).toEqual(cluster.tiers.map((_, tier) => egress(tier) * 10 ** (tier + 1)));
  });
});
