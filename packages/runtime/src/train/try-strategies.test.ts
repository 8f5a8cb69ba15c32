/** Trials before a run: what they time, and that nothing is left of them. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCluster, getModel, namedStrategies, resolveLayout, type Strategy, minOf } from '@monta/core';
import { afterAll, describe, expect, it } from 'vitest';
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
  it('times each as often as asked, and tells a slow network from none', { timeout: 60_000 }, async () => {
    // 4 MB/s between the nodes, at no latency: what crosses there, four times less when scattered, takes most of a
    // step, however busy the processors are.
    const { tiers, ...rest } = getCluster('laptop-2x4');
    const cluster = { ...rest, tiers: tiers.map((tier) => ({ ...tier, latencySeconds: 0 })) };
    const fabric = { cluster, timeScale: 50 };
    const trial = { job: job(), ways, warmUps: 1, turns: 2, steps: 2 };
    const [duplicated = [], scattered = [], chunked = []] = await tryStrategies({ trial, fabric });
    expect([duplicated, scattered, chunked].map(({ length }) => length)).toEqual([4, 4, 4]);
    const least = (seconds: readonly number[]): number => minOf(seconds);
    expect(least(duplicated)).toBeGreaterThan(1.5 * least(scattered));
  });

  it('saves nothing, and refuses what a run would refuse', { timeout: 60_000 }, async () => {
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
