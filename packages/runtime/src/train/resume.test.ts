/**
 * Runs that are stopped in every way and go on: bit for bit, under other layouts, from torn folders, on a full disk.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { completeModel, Random, resolveLayout, type PartialLayout } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertCheckpoint, latestState, listSteps, stepFolderName, TrainingStateFolder } from '../checkpoint/index.js';
import { readAll, sameBits } from '../../testing/checkpoint/tensors.js';
import { builtTesting } from '../../testing/built.js';
import type { CheckpointPlan, TrainJob, TrainReport } from './job.js';
import { prepareStart, type TrainStart } from './start.js';
import { train as startTraining } from './train.js';
import { testOptimizer } from '../../testing/train/optimizer.js';

let folder = '';
let made = 0;
let text = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-resume-'));
  text = join(folder, 'text.txt');
  const random = new Random(1);
  writeFileSync(text, Array.from({ length: 600 }, () => ['tide', 'moon', 'salt', 'gull'][random.integer(4)]).join(' '));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const fresh = (): string => join(folder, String(made++));

const model = completeModel({
  name: 'tiny',
  family: 'qwen3_moe',
  hiddenSize: 16,
  layers: 2,
  attentionHeads: 4,
  keyValueHeads: 2,
  headDim: 4,
  vocabSize: 256,
  experts: 4,
  topK: 2,
  expertFfn: 8,
  denseFfn: 12,
  moeLayers: [true, false],
  qkNorm: 'perHead',
});

/** A job whose steps see the same sequences under every layout. */
function jobOf(partial: PartialLayout, more: Partial<TrainJob> = {}): TrainJob {
  const layout = resolveLayout(partial);
  return {
    step: {
      model,
      layout,
      sequence: 8,
      sequences: 4 / layout.dp,
      microBatches: 1,
      dtype: 'f32',
      strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 1 } },
    },
    steps: 6,
    seed: 5,
    optimizer: testOptimizer(1e-2, 2),
    text,
    evaluateEvery: 0,
    evaluationBatches: 1,
    tracedSteps: [],
    ...more,
  };
}

const plan = (where: string, every: number, keep = 3): CheckpointPlan => ({ folder: where, every, keep });

function stateOf(where: string, step: number): Map<string, Float32Array> {
  const state = TrainingStateFolder.open(join(where, stepFolderName(step)));
  try {
    return readAll(state);
  } finally {
    state.close();
  }
}

async function train(
  job: TrainJob,
): Promise<{ start: TrainStart; losses: readonly number[]; saved: readonly number[] }> {
  let start: TrainStart = { step: -1, notes: [] };
  const result = await startTraining({ job, onStart: (given) => (start = given) });
  return {
    start,
    losses: result.steps.map(({ loss }) => loss),
    saved: result.checkpoints.map(({ step }) => step),
  };
}

/** The files of step 6's ranks, as text. */
const rankFiles = (where: string): string[] =>
  readdirSync(join(where, stepFolderName(6)))
    .filter((name) => name.endsWith('.safetensors'))
    .map((name) => readFileSync(join(where, stepFolderName(6), name)).toString('base64'));

describe('resume', () => {
  /** A run of 4 ranks that nobody stopped, with a checkpoint of every step. */
  const four: PartialLayout = { tp: 2, dp: 2, ep: 2 };
  let whole = '';
  let losses: readonly number[] = [];
  beforeAll(async () => {
    whole = fresh();
    const run = await train(jobOf(four, { checkpoint: plan(whole, 1, 6) }));
    losses = run.losses;
  });

  /** A folder with the first checkpoints of that run. */
  function copyOf(steps: readonly number[]): string {
    const copy = fresh();
    for (const step of steps)
      cpSync(join(whole, stepFolderName(step)), join(copy, stepFolderName(step)), { recursive: true });
    return copy;
  }

  it('under the same layout repeats the uninterrupted run bit for bit: 4 ranks', async () => {
    expect(listSteps(whole)).toEqual([1, 2, 3, 4, 5, 6]);
    const parts = copyOf([3]);
    const resumed = await train(jobOf(four, { checkpoint: plan(parts, 0), resume: 'latest' }));
    expect(resumed.start).toEqual({ step: 3, path: join(parts, stepFolderName(3)), notes: [] });
    expect(resumed.losses).toEqual(losses.slice(3));
    expect(rankFiles(parts)).toEqual(rankFiles(whole));
  });

  it('under the same layout repeats the uninterrupted run bit for bit: 1 rank', async () => {
    const [first, second] = [fresh(), fresh()];
    const uninterrupted = await train(jobOf({}, { checkpoint: plan(first, 3) }));
    const resume = join(first, stepFolderName(3));
    const resumed = await train(jobOf({}, { checkpoint: plan(second, 0), resume }));
    expect(resumed.losses).toEqual(uninterrupted.losses.slice(3));
    expect(rankFiles(second)).toEqual(rankFiles(first));
  });

  it.each<PartialLayout>([{ dp: 4 }, {}])(
    'under layout %j starts from equal weights and moments, and goes on within rounding',
    async (partial) => {
      const layout = resolveLayout(partial);
      const resume = join(whole, stepFolderName(3));
      const resumed = await train(jobOf(partial, { checkpoint: plan(fresh(), 0), resume }));
      expect(resumed.start.notes).toEqual([expect.stringMatching(/^layout was tp=2,dp=2,ep=2, now /)]);
      resumed.losses.forEach((loss, i) => {
        expect(Math.abs(loss - losses[3 + i])).toBeLessThan(1e-5 * loss);
      });
      const converted = fresh();
      convertCheckpoint(resume, converted, { layout });
      const state = TrainingStateFolder.open(converted);
      expect(sameBits(readAll(state), stateOf(whole, 3))).toBe(true);
      state.close();
    },
  );

  it('starts from the weights of a model folder', async () => {
    const [weights, next] = [fresh(), fresh()];
    convertCheckpoint(join(whole, stepFolderName(1)), weights);
    const resumed = await train(jobOf({ dp: 2, ep: 2 }, { steps: 1, resume: weights, checkpoint: plan(next, 1) }));
    expect(resumed.start).toEqual({ step: 0, path: weights, notes: [] });
    // The first batch, seen with the weights of step 1: not the loss of a start from seeded weights.
    expect(resumed.losses).toHaveLength(1);
    expect(Math.abs(resumed.losses[0] - losses[0])).toBeGreaterThan(1e-4);
  });

  it('says what changed', () => {
    const job = jobOf(four, { resume: join(whole, stepFolderName(1)), steps: 7, seed: 6 });
    const { start } = prepareStart({ ...job, optimizer: { ...job.optimizer, learningRate: 0.5, clip: Infinity } });
    expect(start).toEqual({
      step: 1,
      path: job.resume,
      notes: [
        'seed was 5, now 6',
        'steps was 6, now 7',
        'optimizer.learningRate was 0.01, now 0.5',
        'optimizer.clip was 1, now Infinity',
      ],
    });
  });

  it('refuses another model, a finished run, a mixed folder and nothing at all', () => {
    const start = (more: Partial<TrainJob>) => () => prepareStart(jobOf(four, more));
    const resume = join(whole, stepFolderName(1));
    const { step } = jobOf(four);
    expect(start({ resume, step: { ...step, model: completeModel({ ...model, expertFfn: 16 }) } })).toThrow(
      'another model: expertFfn is 8',
    );
    expect(start({ resume: whole })).toThrow('has 6 steps done');
    expect(start({ checkpoint: plan(whole, 1) })).toThrow(/holds checkpoints up to step-000006/);
    expect(start({ checkpoint: plan(whole, 1), resume })).toThrow(/resumes from step 1/);
    expect(start({ resume: fresh() })).toThrow('nothing to resume from');
    expect(start({ resume: 'latest' })).toThrow('saves nothing');
    expect(start({ checkpoint: plan(fresh(), 1, 0) })).toThrow("0 checkpoints can't be kept");
    const none = fresh();
    expect(prepareStart(jobOf(four, { checkpoint: plan(none, 1), resume: 'latest' })).start).toEqual({
      step: 0,
      notes: [`there is no checkpoint in ${none} yet: starting from the beginning`],
    });
  });

  it('passes over a torn checkpoint and replaces it when the run gets there again', async () => {
    const where = copyOf([4, 5, 6]);
    truncateSync(join(where, stepFolderName(6), 'rank-00001-of-00004.safetensors'), 500);
    const resumed = await train(jobOf(four, { checkpoint: plan(where, 1), resume: 'latest' }));
    expect(resumed.start.step).toBe(5);
    expect(resumed.start.notes).toEqual([expect.stringMatching(/^step-000006 is passed over: .*rank-00001-of-00004/)]);
    expect(resumed.losses).toEqual(losses.slice(5));
    expect(latestState(where)).toMatchObject({ step: 6, skipped: [] });
  });

  it('removes what a killed run left where it only reads', () => {
    for (const named of ['', stepFolderName(4)]) {
      const where = copyOf([4]);
      mkdirSync(join(where, '.tmp-step-000005'));
      const { start } = prepareStart(jobOf(four, { checkpoint: plan(fresh(), 1), resume: join(where, named) }));
      expect(start).toMatchObject({ step: 4, notes: ['removed .tmp-step-000005, left by a run that was stopped'] });
      expect(readdirSync(where)).toEqual([stepFolderName(4)]);
    }
  });

  it('an aborted run leaves complete checkpoints only', async () => {
    const where = fresh();
    const stop = new AbortController();
    const job = jobOf({ dp: 2, ep: 2 }, { steps: 400, checkpoint: plan(where, 1) });
    let reports = 0;
    const run = startTraining({
      job,
      signal: stop.signal,
      onReport: () => ++reports === 7 && stop.abort(new Error('enough')),
    });
    await expect(run).rejects.toThrow('enough');
    expect(latestState(where)?.skipped).toEqual([]);
    expect(latestState(where)?.step).toBeGreaterThanOrEqual(3);
  });
});

const script = fileURLToPath(builtTesting('train/resume.worker'));

/** When a run in a child process is killed: after so many reports and milliseconds, or amid the save that follows. */
interface Kill {
  readonly reports: number;
  readonly when: number | 'amid a save';
}

/** Whether all threads of a process are stopped, or gone. */
function standsStill(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  try {
    return readdirSync(tasks).every((id) => /\) [TZX] /u.test(readFileSync(join(tasks, id, 'stat'), 'latin1')));
  } catch {
    return true;
  }
}

/** Looks at a process that stands still, and lets it go on until it stands amid a save, where it is killed. */
async function killAmidSave(child: ChildProcess, folder: string): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGSTOP');
    while (!standsStill(child.pid ?? 0)) await delay(1);
    if (existsSync(folder) && readdirSync(folder).some((name) => name.startsWith('.tmp-'))) child.kill('SIGKILL');
    child.kill('SIGCONT');
    await delay(1);
  }
}

/**
 * Runs a job in a child process until it ends or is killed. `fileBlocks`: how many blocks of 512 bytes a file may have.
 */
function runChild(job: TrainJob, kill?: Kill, fileBlocks?: number): Promise<{ start?: TrainStart; saved: number }> {
  return new Promise((resolve, reject) => {
    const limit = fileBlocks === undefined ? '' : `ulimit -f ${fileBlocks}; `;
    const command = ['-c', `${limit}exec "$0" "$@"`, process.execPath, script, JSON.stringify(job)];
    const child = spawn('sh', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    let start: TrainStart | undefined;
    let saved = 0;
    let seen = 0;
    let complaints = '';
    child.stderr.on('data', (piece: Buffer) => (complaints += piece.toString()));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const report = JSON.parse(line) as TrainReport | (TrainStart & { kind: 'start' });
      if (report.kind === 'start') {
        const { kind: _, ...given } = report;
        start = given;
      } else if (report.kind === 'checkpoint') saved = report.step;
      if (++seen !== kill?.reports) return;
      if (kill.when === 'amid a save') void killAmidSave(child, job.checkpoint?.folder ?? '');
      else setTimeout(() => child.kill('SIGKILL'), kill.when);
    });
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL' || code === 0) resolve({ ...(start === undefined ? {} : { start }), saved });
      else reject(new Error(`the child ended with ${code ?? signal ?? ''}: ${complaints}`));
    });
  });
}

it('killed at six moments, resumes from the last complete checkpoint, and ends as an uninterrupted run', async () => {
  const [where, whole] = [fresh(), fresh()];
  const steps = 24;
  const layout: PartialLayout = { dp: 2, ep: 2 };
  const job = jobOf(layout, { steps, checkpoint: plan(where, 1, 2), resume: 'latest' });
  const random = new Random(3);
  let before = 0;
  let torn = 0;
  for (let kill = 0; kill < 6; kill++) {
    const reports = 1 + random.integer(5);
    const milliseconds = random.integer(12);
    const when = kill % 3 === 2 ? 'amid a save' : milliseconds;
    const { start, saved } = await runChild(job, { reports, when });
    if (start === undefined) throw new Error('the run told no start');
    expect(start.notes.filter((note) => note.includes('passed over'))).toEqual([]);
    // What was reported as saved before the kill is there after it, and may be one further.
    expect(start.step).toBeGreaterThanOrEqual(before);
    before = Math.max(saved, start.step);
    if (existsSync(where) && readdirSync(where).some((name) => name.startsWith('.tmp-'))) torn++;
    const latest = latestState(where);
    expect(latest?.skipped ?? []).toEqual([]);
    expect(latest?.step ?? 0).toBeGreaterThanOrEqual(before);
    expect(listSteps(where).length).toBeLessThanOrEqual(3);
  }
  expect(torn).toBeGreaterThanOrEqual(2);
  await runChild(job);
  expect(readdirSync(where).sort()).toEqual([stepFolderName(steps - 1), stepFolderName(steps)]);
  await train(jobOf(layout, { steps, checkpoint: plan(whole, 0) }));
  expect(sameBits(stateOf(where, steps), stateOf(whole, steps))).toBe(true);
});

/** A file system of 600 kB, where the machine lets us mount one; undefined elsewhere. */
function mountSmall(where: string): (() => void) | undefined {
  mkdirSync(where);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', where]).status === 0;
  return mounted ? () => void spawnSync('umount', [where]) : undefined;
}

it('a full disk ends the run with one message and leaves the checkpoints before usable', async () => {
  const where = fresh();
  const unmount = mountSmall(where);
  try {
    const job = jobOf({ dp: 2, ep: 2 }, { steps: 8, checkpoint: plan(where, 1, 8), resume: 'latest' });
    // Without the right to mount, two checkpoints are saved first, and then files may not grow beyond 4 KiB.
    if (unmount === undefined) await train({ ...job, steps: 2 });
    const failure: unknown = await runChild(job, undefined, unmount === undefined ? 8 : undefined).catch(
      (error: unknown) => error,
    );
    const message = failure instanceof Error ? failure.message : '';
    expect(message).toMatch(/rank [01] failed: checkpoint step-00000\d in .* was not written: /);
    expect(message).toMatch(/: (the disk is full \(ENOSPC\)|the file would grow beyond a limit \(EFBIG\))/);
    const latest = latestState(where);
    if (latest === undefined) throw new Error('no checkpoint is left');
    expect(message).toContain(`${stepFolderName(latest.step)} stays usable`);
    expect(readdirSync(where).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(latest.skipped).toEqual([]);
    const roomy = fresh();
    const resumed = await train(jobOf({ dp: 2, ep: 2 }, { steps: 8, checkpoint: plan(roomy, 0), resume: where }));
    expect(resumed.start.step).toBe(latest.step);
    expect(existsSync(join(roomy, stepFolderName(8)))).toBe(true);
  } finally {
    unmount?.();
  }
});
