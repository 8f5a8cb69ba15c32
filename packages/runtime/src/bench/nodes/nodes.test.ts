/** What a run over nodes does, on threads: the same path as on cards, with a calibration of the test's making. */
import { getCluster, parseLayout, type CollectiveCurves } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { runContest, type ContestResult } from '../../execute/dispatch-contest.js';
import { localLauncher } from '../../launch/index.js';
import { choiceCases, namedCase } from './contest-cases.js';
import { contestFigures, prepareContest } from './decide.js';
import { exchangeWays, measureNodeExchanges, type VolumeExchanges } from './exchanges.js';
import type { Ground } from './ground.js';

/** Links of 1 and 10 GB/s, without latencies. */
const curves: CollectiveCurves = {
  seconds: (name, { nodes }, bytes) => ({
    known: true,
    seconds: (name === 'all_reduce' ? 2 : 1) * (bytes / (nodes > 1 ? 1e9 : 1e10)),
    basis: 'measured',
    detail: '',
  }),
};

const kernel = { flopsPerSecond: Infinity, bytesPerSecond: 1e12, overheadSeconds: 0 };
const kernels = [
  'moe.pack',
  'moe.place',
  'moe.unplace',
  'moe.take',
  'moe.combine',
  'moe.combine.weights',
  'rows.copy',
  'rows.sum',
  'rows.weigh',
  'picks.gradient',
];

const ground: Ground = {
  launcher: localLauncher,
  cluster: getCluster('h200-2x2'),
  curves,
  probe: {
    hostCores: { cores: 4, ranksPerHost: 4 },
    kernels: new Map(kernels.map((name) => [name, kernel])),
    delaySeconds: 0,
    wakeSeconds: 0,
    startSeconds: 0,
  },
  modelError: 0.1,
};

describe('the choice over nodes', () => {
  it('is judged against all that was measured: the fastest is no slower than any named way', async () => {
    const layout = parseLayout('tp=2,dp=2,ep=2');
    const named = namedCase(
      { layout, mebibytes: 1 / 64, hiddenSize: 64, experts: 8, topK: 2, chunkCounts: [1, 2] },
      'f32',
    );
    const prepared = prepareContest(ground, named);
    expect(prepared.chosen.dispatch).not.toBe('duplicated');
    const results: ContestResult[] = [];
    await runContest({
      job: { cases: [prepared.contest], trialRuns: 2, finalRuns: 3, finalShare: 0.2, seconds: 600 },
      onResult: (result) => results.push(result),
    });
    const figures = contestFigures(prepared, results[0], { ground, predictAll: true });
    expect(figures.deviation).toBeLessThan(1e-6);
    const { best, plan, predicted, bestFixed, duplicated } = figures;
    for (const way of [plan, predicted, bestFixed, duplicated])
      expect(way?.seconds).toBeGreaterThanOrEqual(best.seconds);
    for (const { seconds, predictedSeconds = 0, boundSeconds = 0 } of figures.passes) {
      expect(seconds.every((one) => one > 0)).toBe(true);
      expect(boundSeconds).toBeGreaterThan(0);
      expect(predictedSeconds).toBeGreaterThanOrEqual(boundSeconds * 0.99);
    }
  });

  it.each([
    [2, 40],
    [4, 40],
    [8, 30],
  ])('stands over layers of two nodes of %i ranks, %i or more, in different words', (tp, least) => {
    const cases = choiceCases('bf16', tp);
    expect(cases.length).toBeGreaterThanOrEqual(least);
    expect(new Set(cases.map(({ name, chunkCounts }) => `${name} ${chunkCounts.join()}`)).size).toBe(cases.length);
    for (const { shape, mebibytes } of cases) {
      const { tokens, topK, hiddenSize, layout } = shape;
      expect((tokens * topK * hiddenSize * 2) / 2 ** 20 / mebibytes).toBeCloseTo(1, 1);
      expect(layout.tp * layout.dp).toBe(2 * tp);
      expect(shape.experts % layout.ep).toBe(0);
    }
  });
});

describe('exchanges over nodes', () => {
  it('bring every element where it belongs, in all ways', async () => {
    const told: VolumeExchanges[] = [];
    const volumes = [2 ** 12, 2 ** 14];
    const job = { volumes, ways: exchangeWays([1, 2]), turns: 2, seconds: 600 };
    await measureNodeExchanges({ launcher: localLauncher, tp: 2, job, onVolume: (one) => told.push(one) });
    expect(told.map(({ bytes, wrong }) => [bytes, wrong])).toEqual(volumes.map((bytes) => [bytes, 0]));
    for (const { ways } of told) {
      expect(ways.map(({ strategy, chunks }) => `${strategy} ${chunks}`)).toEqual([
        'duplicated 1',
        'all_to_all 1',
        'sliced 1',
        'sliced 2',
      ]);
      expect(ways.every(({ seconds }) => seconds.length === 2 && seconds.every((one) => one > 0))).toBe(true);
    }
  });
});
