/** A run that balances experts by their selection bias goes on bit for bit, biases and all. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveLayout } from '@monta/core';
import { afterAll, expect, it } from 'vitest';
import { readAll, sameBits } from '../../testing/checkpoint/tensors.js';
import { deepseek } from '../../testing/execute/rank-cases.js';
import { testOptimizer } from '../../testing/train/optimizer.js';
import { stepFolderName, TrainingStateFolder } from '../checkpoint/index.js';
import type { TrainJob } from './job.js';
import { prepareStart } from './start.js';
import { train } from './train.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-balance-'));
afterAll(() => rmSync(folder, { recursive: true }));
const text = join(folder, 'text.txt');
writeFileSync(text, 'tide moon salt gull reef wave sand foam '.repeat(20));

const job = (where: string, more: Partial<TrainJob> = {}): TrainJob => ({
  step: {
    model: { ...deepseek, vocabSize: 256 },
    layout: resolveLayout({ dp: 2, ep: 2 }),
    sequence: 8,
    sequences: 2,
    microBatches: 1,
    dtype: 'f32',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 1 } },
    selectionBiasRate: 0.01,
  },
  steps: 4,
  seed: 5,
  optimizer: testOptimizer(1e-2, 2),
  text,
  evaluateEvery: 1,
  evaluationBatches: 1,
  tracedSteps: [],
  checkpoint: { folder: join(folder, where), every: 2, keep: 2 },
  ...more,
});

function stateOf(where: string, step: number): Map<string, Float32Array> {
  const state = TrainingStateFolder.open(join(folder, where, stepFolderName(step)));
  try {
    return readAll(state);
  } finally {
    state.close();
  }
}

it('is resumed bit for bit, and says when the rate changes', async () => {
  const whole = await train({ job: job('whole') });
  const resume = join(folder, 'whole', stepFolderName(2));
  const resumed = await train({ job: job('parts', { resume }) });
  expect(resumed.steps.map(({ loss }) => loss)).toEqual(whole.steps.slice(2).map(({ loss }) => loss));
  const [middle, end, again] = [stateOf('whole', 2), stateOf('whole', 4), stateOf('parts', 4)];
  expect(sameBits(again, end)).toBe(true);
  const biases = (state: Map<string, Float32Array>) => [...state].filter(([name]) => name.includes('correction_bias'));
  expect(biases(end).length).toBeGreaterThan(0);
  expect(biases(end)).not.toEqual(biases(middle));

  const asked = job('other', { resume });
  const { start } = prepareStart({ ...asked, step: { ...asked.step, selectionBiasRate: 0.02 } });
  expect(start.notes).toEqual(['selectionBiasRate was 0.01, now 0.02']);
});
