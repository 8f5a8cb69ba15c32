import {
  costModel,
  getCluster,
  routedBinding,
  simulatePass,
  type HostCores,
  type MoeShape,
  type Strategy,
  maxOf,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { fitCommunicationCost, withCost, type CommunicationCost, type TimedDispatch } from './communication-cost.js';

const cluster = getCluster('laptop-2x4');
const tiny: MoeShape = {
  tokens: 4,
  hiddenSize: 1,
  expertFfn: 8,
  experts: 8,
  topK: 2,
  layout: { tp: 4, cp: 1, dp: 2, pp: 1, etp: 4, ep: 2, edp: 1, sequenceParallel: false },
  dtype: 'f32',
};
/** Dispatches half a mebibyte. */
const large: MoeShape = { ...tiny, tokens: 256, hiddenSize: 256 };
const hostCores: HostCores = { cores: 2, ranksPerHost: 8 };
const moving: HostCores = { ...hostCores, movers: { threads: 2, bytesPerSecond: 2e9 } };

const strategiesIn = (...counts: readonly number[]): Strategy[] =>
  (['duplicated', 'scattered'] as const).flatMap((combine) =>
    counts.map((chunks) => ({ dispatch: 'sliced', combine, chunks: { forward: chunks, backward: chunks } })),
  );
const strategies = strategiesIn(1, 4);

type Figures = Omit<CommunicationCost, 'error'>;

/** How long dispatches take where communication costs so much; kernels take no time. */
const dispatches = (
  figures: Figures,
  shape = tiny,
  of = strategies,
  cores = hostCores,
  on = cluster,
): TimedDispatch[] =>
  of.map((strategy) => {
    const { multiprocessors: _, ...device } = on.device;
    const simulation = simulatePass(
      {
        cluster: on,
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
              collectiveOverheadSeconds: figures.delaySeconds,
            },
          },
        ),
        hostCores: withCost(cores, figures),
        scope: 'dispatch',
      },
      strategy,
      'forward',
      routedBinding(shape, { kind: 'uniform' }, 1),
    );
    if (!simulation.known) throw new Error(simulation.missing.join());
    return { shape, strategy, pass: 'forward', seconds: simulation.summary.makespanSeconds };
  });

const largestDifference = (some: readonly TimedDispatch[], others: readonly TimedDispatch[]): number =>
  maxOf(some.map(({ seconds }, index) => Math.abs((others[index]?.seconds ?? NaN) / seconds - 1)));

describe('the cost of collectives', () => {
  it.each([
    [200e-6, 1e-3],
    [50e-6, 3e-3],
    [400e-6, 100e-6],
  ])(
    'found from few and many chunks, it foretells the others: core time %d s, delay %d s',
    (coreSeconds, delaySeconds) => {
      const figures = { coreSeconds, delaySeconds };
      const found = fitCommunicationCost(dispatches(figures), { cluster, hostCores });
      expect(found.error).toBeLessThan(0.1);
      const others = strategiesIn(2, 8);
      expect(largestDifference(dispatches(figures, tiny, others), dispatches(found, tiny, others))).toBeLessThan(0.15);
    },
  );

  it('is never below 0, and its error tells that measurements contradict each other', () => {
    const fit = fitCommunicationCost(
      dispatches({ coreSeconds: 200e-6, delaySeconds: 0 }).map((one, index) => ({
        ...one,
        seconds: one.seconds * (index % 2 === 0 ? 0.3 : 1.7),
      })),
      { cluster, hostCores },
    );
    expect(fit.coreSeconds).toBeGreaterThanOrEqual(0);
    expect(fit.delaySeconds).toBeGreaterThanOrEqual(0);
    expect(fit.error).toBeGreaterThan(0.1);
  });

  it('needs a measurement', () => {
    expect(() => fitCommunicationCost([], { cluster, hostCores })).toThrow('no dispatch was measured');
  });
});

describe('the cost of bytes', () => {
  it.each([30e6, 100e6])(
    'found from dispatches with bytes, it foretells others: %d bytes/s',
    (networkBytesPerSecond) => {
      const figures = { coreSeconds: 100e-6, delaySeconds: 500e-6, networkBytesPerSecond };
      const timed = [tiny, large].flatMap((shape) => dispatches(figures, shape, strategies, moving));
      const found = fitCommunicationCost(timed, { cluster, hostCores: moving }, { bytes: true });
      expect(found.error).toBeLessThan(0.05);
      expect(found.networkBytesPerSecond).toBeGreaterThan(0.7 * networkBytesPerSecond);
      expect(found.networkBytesPerSecond).toBeLessThan(1.4 * networkBytesPerSecond);
      const others = strategiesIn(2);
      const larger = { ...large, tokens: 4 * large.tokens };
      expect(
        largestDifference(dispatches(figures, larger, others, moving), dispatches(found, larger, others, moving)),
      ).toBeLessThan(0.15);
    },
  );

  it('stay as expected where dispatches do not tell them', () => {
    // a line of a thousandth of what cores move: whatever bytes cost, they are done long before
    const slow = { ...cluster, tiers: cluster.tiers.map((tier) => ({ ...tier, bytesPerSecond: 2e6 })) };
    const figures = { coreSeconds: 100e-6, delaySeconds: 500e-6, networkBytesPerSecond: 4e9 };
    const timed = dispatches(figures, large, strategies, moving, slow);
    const found = fitCommunicationCost(timed, { cluster: slow, hostCores: moving }, { bytes: true });
    // a fifth of the rate of copying
    expect(found.networkBytesPerSecond).toBeCloseTo(0.4e9, -6);
  });

  it('is refused where nothing moves them', () => {
    expect(() =>
      fitCommunicationCost(dispatches({ coreSeconds: 0, delaySeconds: 1e-3 }), { cluster, hostCores }, { bytes: true }),
    ).toThrow(/movers/u);
  });
});
