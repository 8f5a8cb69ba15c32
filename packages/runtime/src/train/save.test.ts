/** A checkpoint holds the run's state and nothing of its inputs, whichever backend wrote it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { completeModel, resolveLayout } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jobRecord } from '../checkpoint/index.js';
import { testsOverMpi } from '../../testing/hosts.js';
import { localLauncher, mpiLauncher, type Launcher } from '../launch/index.js';
import type { CheckpointReport, TrainJob } from './job.js';
import { testOptimizer } from '../../testing/train/optimizer.js';
import { train } from './train.js';

const textBytes = 2_000_000;
/** Of everything but the tensors: headers, state and manifest. */
const besideTensors = 16_384;
const valueBytes = 4;
/** Weight and two moments. */
const kinds = 3;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-save-'));
  writeFileSync(join(folder, 'text.txt'), 'a tide of text '.repeat(textBytes / 15));
});
afterAll(() => rmSync(folder, { recursive: true }));

const model = completeModel({
  name: 'tiny',
  hiddenSize: 16,
  layers: 1,
  attentionHeads: 2,
  vocabSize: 256,
  experts: 2,
  topK: 1,
  expertFfn: 8,
});
/** Embedding and head; norms; query, key, value, output; router; gate, up, down of each expert. */
const parameters = 2 * 256 * 16 + 3 * 16 + 4 * 16 * 16 + 2 * 16 + 2 * 3 * 16 * 8;

const jobOf = (checkpoints: string): TrainJob => ({
  step: {
    model,
    layout: resolveLayout({ dp: 2, ep: 2 }),
    sequence: 8,
    sequences: 1,
    microBatches: 1,
    dtype: 'f32',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  },
  steps: 1,
  seed: 5,
  optimizer: { ...testOptimizer(1e-2, 0), clip: Infinity },
  text: join(folder, 'text.txt'),
  evaluateEvery: 0,
  evaluationBatches: 1,
  tracedSteps: [],
  checkpoint: { folder: checkpoints, every: 0, keep: 1 },
});

async function saved(launcher: Launcher): Promise<CheckpointReport> {
  const { checkpoints } = await train({ job: jobOf(mkdtempSync(join(folder, 'run-'))), launcher });
  return checkpoints[0];
}

const stateOf = ({ path }: CheckpointReport): string => readFileSync(join(path, 'state.json'), 'utf8');

describe('a checkpoint', () => {
  it('is as large as its tensors and a little, though the text is larger, and says so', async () => {
    const report = await saved(localLauncher);
    const onDisk = readdirSync(report.path).reduce((sum, name) => sum + statSync(join(report.path, name)).size, 0);
    expect(report.bytes).toBe(onDisk);
    const tensors = parameters * kinds * valueBytes;
    expect(onDisk).toBeGreaterThan(tensors);
    expect(onDisk).toBeLessThan(tensors + besideTensors);
    expect(stateOf(report)).not.toContain('a tide of');
  });

  it.runIf(testsOverMpi)('says the same of the job on threads and over MPI', async () => {
    expect(stateOf(await saved(mpiLauncher()))).toBe(stateOf(await saved(localLauncher)));
  });

  it('records what is named, whatever else a job carries', () => {
    const job = { ...jobOf('x'), bytes: new Uint8Array(1 << 20), later: { much: 'more' } };
    const record = JSON.stringify(jobRecord(job));
    expect(record.length).toBeLessThan(1024);
    expect(record).not.toMatch(/bytes|later|checkpoint/);
  });
});
