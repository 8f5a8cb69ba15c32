/**
 * Kills at random moments: of the launcher, and over MPI of a random process. What was saved is whole, and a run that
 * goes on ends with the bits of one that was never disturbed.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '@monta/core';
import { latestState, listSteps, stepFolderName } from '#runtime/checkpoint/index.js';
import type { TrainJob } from '#runtime/train/index.js';
import { runProcess, type Backend, type Ended } from './run-process.js';

/** Digest of all tensors of the last checkpoint. */
export function lastBits(folder: string): string {
  const last = join(folder, stepFolderName(listSteps(folder).at(-1) ?? 0));
  const hash = createHash('sha256');
  for (const name of readdirSync(last).sort())
    if (name.endsWith('.safetensors')) hash.update(readFileSync(join(last, name)));
  return hash.digest('hex');
}

export interface Outcome {
  readonly hung: boolean;
  readonly torn: boolean;
  readonly left: boolean;
  /** Whether the run that went on ended with the right bits. */
  readonly equal: boolean;
  /** What else was wrong. */
  readonly trouble?: string;
  readonly seconds: number;
}

/** After a run that was harmed: is what it left whole, and does a run that goes on from there end with `bits`? */
export async function goesOn(backend: Backend, job: TrainJob, harmed: Ended, bits: string): Promise<Outcome> {
  const folder = job.checkpoint?.folder ?? '';
  const torn = isTorn(folder);
  const resumed = await runProcess(backend, job);
  const equal = resumed.code === 0 && lastBits(folder) === bits;
  return {
    hung: harmed.hung || resumed.hung,
    torn,
    left: harmed.left + resumed.left > 0 || (backend === 'mpi' && leavesFiles(harmed)),
    equal,
    ...(resumed.code === 0 ? {} : { trouble: resumed.errors }),
    seconds: harmed.seconds,
  };
}

/** Whether files of Open MPI are left of a job, once another one has begun. */
const leavesFiles = ({ pid }: Ended): boolean =>
  ['/dev/shm', tmpdir()].some((base) => readdirSync(base).some((name) => name.startsWith(`monta-mpi-${pid}-`)));

function isTorn(folder: string): boolean {
  try {
    return (latestState(folder)?.skipped.length ?? 0) > 0;
  } catch {
    return true;
  }
}

/** One kill, at a moment of the `seconds` that an undisturbed run takes. */
export async function killOnce(
  backend: Backend,
  job: TrainJob,
  { random, seconds, bits }: { readonly random: Random; readonly seconds: number; readonly bits: string },
): Promise<Outcome> {
  const [moment, victim, which] = [random.uniform() * seconds, random.integer(2), random.uniform()];
  const harmed = await runProcess(backend, job, async ({ pid, processes }) => {
    await pause(moment * 1000);
    const all = processes();
    const chosen = backend === 'local' || victim === 0 ? pid : (all[Math.floor(which * all.length)] ?? pid);
    try {
      process.kill(chosen, 'SIGKILL');
    } catch {
      // The run was faster than that.
    }
  });
  if (job.steps === listSteps(job.checkpoint?.folder ?? '').at(-1)) {
    const equal = lastBits(job.checkpoint?.folder ?? '') === bits;
    return { hung: harmed.hung, torn: false, left: harmed.left > 0, equal, seconds: harmed.seconds };
  }
  return goesOn(backend, job, harmed, bits);
}
