/** Trials before a run: what they time, and that nothing is left of them. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCluster, getModel, namedStrategies, resolveLayout, type Strategy, minOf } from '@monta/core';
import { afterAll, describe, expect, it } from 'vitest';
import { localLauncher, type Launcher } from '../launch/index.js';
import type { TrainJob } from './job.js';
import { testOptimizer } from '../../testing/train/optimizer.js';
import { tryStrategies } from './try-strategies.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-try-'));
afterAll(() => rmSync(folder, { recursive: true }));

const text = join(folder, 'text.txt');
writeFileSync(text, 'the tide comes in, the tide goes out; '.repeat(400));
const unchunked = { forward: 1, backward: 1 };
const strategies: Strategy[] = [
  { ...namedStrategies.duplicated, chunks: unchunked },
  { ...namedStrategies.scattered, chunks: unchunked },
  { ...namedStrategies.scattered, chunks: { forward: 2, backward: 4 } },
];
const ways = strategies.map((strategy) => ({ strategy }));

function job(more: Partial<TrainJob> = {}): TrainJob {
  return {
    step: {
      model: { ...getModel('tiny-bytes'), hiddenSize: 64, expertFfn: 64, headDim: 8, layers: 1, moeLayers: [true] },
      layout: resolveLayout({ tp: 4, dp: 2, ep: 2 }),
      sequence: 64,
      sequences: 8,
      microBatches: 1,
      dtype: 'f32',
      strategy: { ...namedStrategies.scattered, chunks: unchunked },
    },
    steps: 10,
    seed: 1,
    optimizer: testOptimizer(3e-3, 5),
    text,
    evaluateEvery: 0,
    evaluationBatches: 1,
    tracedSteps: [],
    ...more,
  };
}

describe('tryStrategies', () => {
  it('times each as often as asked, on the network that is given', async () => {
    // 4 MB/s between the nodes, at no latency: what crosses there, four times less when scattered, takes its time,
    // however fast the processors are.
    const { tiers, ...rest } = getCluster('laptop-2x4');
    const cluster = { ...rest, tiers: tiers.map((tier) => ({ ...tier, latencySeconds: 0 })) };
    const fabric = { cluster, timeScale: 50 };
    const trial = { job: job(), ways, warmUps: 1, turns: 2, steps: 2 };
    let carried = 0;
    const launcher: Launcher = {
      ...localLauncher,
      launch: (options) =>
        localLauncher.launch({
          ...options,
          onFabricReport: ({ portBytes }) => (carried = portBytes.reduce((sum, bytes) => sum + bytes, 0)),
        }),
    };
    const [duplicated = [], scattered = [], chunked = []] = await tryStrategies({ trial, launcher, fabric });
    expect([duplicated, scattered, chunked].map(({ length }) => length)).toEqual([4, 4, 4]);
    const { step } = trial.job;
    const rows = step.sequence * step.sequences * step.model.topK;
    // A third at least of what a replica's rows would be were half of them for the other node; to the experts and back,
    // forward and backward.
    const crossing = (4 * rows * step.model.hiddenSize * 4) / 2 / 3;
    const rate = (cluster.tiers[1]?.bytesPerSecond ?? 0) / fabric.timeScale;
    expect(rate).toBe(4e6);
    expect(carried).toBeGreaterThan(crossing);
    expect(minOf(duplicated)).toBeGreaterThan(crossing / rate);
    for (const seconds of [scattered, chunked]) expect(minOf(seconds)).toBeGreaterThan(crossing / 4 / rate);
  });

  it('saves nothing, and refuses what a run would refuse', async () => {
    const checkpoints = join(folder, 'checkpoints');
    const saving = job({ checkpoint: { folder: checkpoints, every: 1, keep: 1 } });
    await tryStrategies({ trial: { job: saving, ways: ways.slice(1), warmUps: 0, turns: 1, steps: 1 } });
    expect(existsSync(checkpoints)).toBe(false);
    const nowhere = job({ resume: join(folder, 'nowhere') });
    await expect(tryStrategies({ trial: { job: nowhere, ways, warmUps: 0, turns: 1, steps: 1 } })).rejects.toThrow(
      'nothing to resume from',
    );
  });
});
