import { describe, expect, it } from 'vitest';
import { getCluster, portsOf } from '../cluster/index.js';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { inChunks, namedStrategies, type StepShape } from '../schedule/index.js';
import { stepBytes } from './step-bytes.js';

describe('bytes of a step', () => {
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
  const predicted = stepBytes(cluster, step, 1);
  /** A job of four steps whose ports carried `share` of what is predicted, spread over them. */
  const counted = (share: number, evaluationBatches: number, perBatch: readonly number[]) => {
    const ports = portsOf(cluster);
    const portBytes = Float64Array.from(ports, ({ tier, direction }) => {
      const owners = ports.filter((port) => port.tier === tier && port.direction === 'egress').length;
      const all = 4 * (predicted[tier]?.predictedBytes ?? 0) + evaluationBatches * (perBatch[tier] ?? 0);
      return direction === 'egress' ? (share * all) / owners : 1e12;
    });
    return stepBytes(cluster, step, 1, { portBytes, steps: 4, evaluationBatches });
  };

  it('are counted on the way out, and per step', () => {
    expect(predicted.every(({ predictedBytes }) => predictedBytes > 0)).toBe(true);
    counted(1.1, 0, []).forEach(({ countedBytes, predictedBytes }) =>
      expect(countedBytes).toBeCloseTo(1.1 * predictedBytes, 3),
    );
  });

  it('leave out what evaluation moved: the forward pass of one micro-batch', () => {
    // of two like micro-batches, forward and backward, twice as many move twice as much besides the update
    const double = stepBytes(cluster, { ...step, microBatches: 4 }, 1);
    const perMicroBatch = predicted.map(
      ({ predictedBytes }, tier) => ((double[tier]?.predictedBytes ?? 0) - predictedBytes) / 2,
    );
    const batch = perMicroBatch.map((bytes) => bytes / 2);
    counted(1, 3, batch).forEach(({ countedBytes = 0, predictedBytes }) => {
      expect(countedBytes / predictedBytes).toBeGreaterThan(0.85);
      expect(countedBytes / predictedBytes).toBeLessThan(1.15);
    });
  });

  it('are predicted alone where nothing counted', () => {
    const none = { portBytes: new Float64Array(), steps: 4, evaluationBatches: 0 };
    expect(stepBytes(cluster, step, 1, none)).toEqual(predicted);
  });
});
