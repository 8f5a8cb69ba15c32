import {
  costModel,
  getCluster,
  routedBinding,
  simulatePass,
  type HostCores,
  type MoeShape,
  type Strategy,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { fitCollectiveCost, type EmptyDispatch } from './collective-cost.js';

const cluster = getCluster('laptop-2x4');
const shape: MoeShape = {
  tokens: 4,
  hiddenSize: 1,
  expertFfn: 8,
  experts: 8,
  topK: 2,
  layout: { tp: 4, cp: 1, dp: 2, pp: 1, etp: 4, ep: 2, edp: 1, sequenceParallel: false },
  dtype: 'f32',
};
const hostCores: HostCores = { cores: 2, ranksPerHost: 8 };

const strategiesIn = (...counts: readonly number[]): Strategy[] =>
  (['duplicated', 'scattered'] as const).flatMap((combine) =>
    counts.map((chunks) => ({ dispatch: 'sliced', combine, chunks: { forward: chunks, backward: chunks } })),
  );
const strategies = strategiesIn(1, 4);

/** How long dispatches of next to nothing take where collectives cost so much. */
const empties = (coreSeconds: number, delaySeconds: number, of = strategies): EmptyDispatch[] =>
  of.map((strategy) => {
    const { multiprocessors: _, ...device } = cluster.device;
    const simulation = simulatePass(
      {
        cluster,
        shape,
        routing: { kind: 'uniform' },
        seed: 1,
        model: costModel(
          { ...device, memoryBytesPerSecond: Number.MAX_VALUE },
          {
            inputs: {
              kernelOverheadSeconds: 0,
              hostOverheadSeconds: 0,
              hostRunsKernels: false,
              collectiveOverheadSeconds: delaySeconds,
            },
          },
        ),
        hostCores: { ...hostCores, collectiveSeconds: coreSeconds },
        scope: 'dispatch',
      },
      strategy,
      'forward',
      routedBinding(shape, { kind: 'uniform' }, 1),
    );
    if (!simulation.known) throw new Error(simulation.missing.join());
    return { shape, strategy, pass: 'forward', seconds: simulation.summary.makespanSeconds };
  });

describe('the cost of collectives', () => {
  it.each([
    [200e-6, 1e-3],
    [50e-6, 3e-3],
    [400e-6, 100e-6],
  ])('found from few and many chunks, it foretells the others: core time %d s, delay %d s', (core, delay) => {
    const found = fitCollectiveCost(empties(core, delay), { cluster, hostCores });
    expect(found.error).toBeLessThan(0.1);
    const others = strategiesIn(2, 8);
    const foretold = empties(found.coreSeconds, found.delaySeconds, others);
    for (const [index, { seconds }] of empties(core, delay, others).entries())
      expect(Math.abs((foretold[index]?.seconds ?? NaN) / seconds - 1)).toBeLessThan(0.15);
  });

  it('is never below 0, and its error tells that measurements contradict each other', () => {
    const fit = fitCollectiveCost(
      empties(200e-6, 0).map((one, index) => ({ ...one, seconds: one.seconds * (index % 2 === 0 ? 0.3 : 1.7) })),
      { cluster, hostCores },
    );
    expect(fit.coreSeconds).toBeGreaterThanOrEqual(0);
    expect(fit.delaySeconds).toBeGreaterThanOrEqual(0);
    expect(fit.error).toBeGreaterThan(0.1);
  });

  it('needs a measurement', () => {
    expect(() => fitCollectiveCost([], { cluster, hostCores })).toThrow('no dispatch was measured');
  });
});
