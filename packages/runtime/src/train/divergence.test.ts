/** Runs that diverge: they say so, and what was good stays. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { completeModel, resolveLayout, type PartialLayout } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testOptimizer } from '../../testing/train/optimizer.js';
import { listSteps, TrainingStateFolder } from '../checkpoint/index.js';
import { RankFailure } from '../launch/index.js';
import type { TrainJob, TrainReport } from './job.js';
import { train } from './train.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-divergence-'));
  writeFileSync(join(folder, 'text.txt'), 'the tide comes in and the tide goes out. '.repeat(200));
});
afterAll(() => rmSync(folder, { recursive: true }));

function jobOf(partial: PartialLayout, checkpoints: string, changes: Partial<TrainJob> = {}): TrainJob {
  return {
    step: {
      model: completeModel({
        name: 'tiny',
        hiddenSize: 16,
        layers: 1,
        attentionHeads: 2,
        vocabSize: 256,
        experts: 2,
        topK: 1,
        expertFfn: 8,
      }),
      layout: resolveLayout(partial),
      sequence: 8,
      sequences: 1,
      microBatches: 1,
      dtype: 'f32',
      strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
    },
    steps: 20,
    seed: 5,
    // The warm-up rises to a rate at which weights overflow within some steps.
    optimizer: { ...testOptimizer(1e37, 20), clip: Infinity, weightDecay: 0 },
    text: join(folder, 'text.txt'),
    evaluateEvery: 0,
    evaluationBatches: 1,
    tracedSteps: [],
    checkpoint: { folder: checkpoints, every: 1, keep: 1 },
    ...changes,
  };
}

async function diverge(job: TrainJob): Promise<{ failure: RankFailure; reports: TrainReport[] }> {
  const reports: TrainReport[] = [];
  const failure: unknown = await train({ job, onReport: (report) => reports.push(report) }).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(failure instanceof RankFailure)) throw new Error('the run did not fail', { cause: failure });
  return { failure, reports };
}

describe('a run that diverges', () => {
  it.each<PartialLayout>([{}, { tp: 2, dp: 2, ep: 2 }])('under %j ends, and names step and tensor', async (layout) => {
    const checkpoints = mkdtempSync(join(folder, 'run-'));
    const { failure, reports } = await diverge(jobOf(layout, checkpoints, { badSteps: 2 }));
    expect(failure.message).toMatch(/the run diverged: (?:in step|after step)/);
    expect(failure.message).toContain(`the last good checkpoint in ${checkpoints} stays`);
    const steps = reports.filter((report) => report.kind === 'step');
    const bad = steps.filter(({ loss, gradientNorm }) => !Number.isFinite(loss) || !Number.isFinite(gradientNorm));
    expect(bad.length).toBeLessThanOrEqual(2);
    expect(steps.length).toBeLessThan(20);
    const [last] = listSteps(checkpoints);
    const state = TrainingStateFolder.open(join(checkpoints, `step-${String(last).padStart(6, '0')}`));
    state.close();
    const saved = reports.filter((report) => report.kind === 'checkpoint').map(({ step }) => step);
    expect(last).toBe(saved.at(-1));
  });
});
