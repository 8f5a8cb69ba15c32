import { getCluster, type Cluster } from '../cluster/index.js';
import { costModel, hostInputs } from '../cost/index.js';
import { parseLayout } from '../layout/index.js';
import type { MoeShape } from '../schedule/index.js';
import { describe, expect, it } from 'vitest';
import { dispatchVariants, layerPasses } from './dispatch-variants.js';
import { emulationScale, memorySpeedScale } from './emulation-scale.js';
import { routedBinding, simulatePass } from './workload.js';

const cluster = getCluster('a800-2x8-1nic');
const shape: MoeShape = {
  tokens: 8192,
  hiddenSize: 8192,
  expertFfn: 4096,
  experts: 2,
  topK: 2,
  layout: parseLayout('tp=8,dp=2,ep=2', 16),
  dtype: 'bf16',
};
const routing = { kind: 'uniform' } as const;
const variants = dispatchVariants(shape, [1, 4]);
const request = { cluster, shape, routing, seed: 1, variants, roundSeconds: 10, bytesPerSecond: 1e8 };

/** Both passes on links alone: kernels and hosts take no time. */
function linkSeconds(on: Cluster, of: MoeShape, index: number): number {
  const model = costModel({ ...on.device, memoryBytesPerSecond: Number.MAX_VALUE }, { inputs: hostInputs(0) });
  const workload = { cluster: on, shape: of, routing, seed: 1, model, scope: 'dispatch' as const };
  const strategy = variants[index]?.strategy;
  if (!strategy) throw new RangeError(`no variant ${index}`);
  return layerPasses.reduce((sum, pass) => {
    const simulation = simulatePass(workload, strategy, pass, routedBinding(of, routing, 1));
    if (!simulation.known) throw new Error(simulation.missing.join());
    return sum + simulation.summary.makespanSeconds;
  }, 0);
}

describe('a cluster to scale', () => {
  const scale = emulationScale(request);

  it('stretches the time of every variant by the same factor', () => {
    expect(scale.volumeShare).toBeLessThan(1);
    variants.forEach((_, index) => {
      const full = linkSeconds(cluster, shape, index);
      expect(linkSeconds(scale.seen, scale.shape, index) / full / scale.timeScale).toBeCloseTo(1, 6);
    });
  });

  it('fills the time that one round may take, and moves no more than the machine can', () => {
    const seconds = variants.map((_, index) => linkSeconds(scale.seen, scale.shape, index));
    expect(seconds.reduce((a, b) => a + b, 0)).toBeCloseTo(request.roundSeconds, 6);
    // every rank sends V/2 of a duplicated half to the other node and 2 V 7/8 within it; V of the whole replica is its
    // bytes here
    const volume = scale.shape.topK * scale.shape.tokens * scale.shape.hiddenSize * 4;
    const duplicated = variants.findIndex(({ name }) => name === 'duplicated');
    const bytes = 16 * 2 * (2 * (volume / 2) + 2 * volume * (7 / 8));
    expect(bytes / (seconds[duplicated] ?? 0)).toBeLessThan(request.bytesPerSecond * 1.1);
  });

  it('takes a given time scale, and never more than the full volume', () => {
    expect(emulationScale({ ...request, timeScale: 7 }).timeScale).toBe(7);
    const huge = emulationScale({ ...request, bytesPerSecond: 1e15 });
    expect(huge.shape.hiddenSize).toBe(shape.hiddenSize);
    expect(huge.shape.tokens).toBeLessThanOrEqual(shape.tokens);
  });

  it('without a network leaves time as it is', () => {
    const { timeScale, seen } = memorySpeedScale(request);
    expect(timeScale).toBe(1);
    expect(seen.tiers.every(({ latencySeconds }) => latencySeconds === 0)).toBe(true);
  });
});
