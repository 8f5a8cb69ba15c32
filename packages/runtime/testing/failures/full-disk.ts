/**
 * The failure suite's full disk: a file system that both hosts see has no room for the next checkpoint. What was saved
 * before is there, and goes on.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { latestState, stepFolderName } from '#runtime/checkpoint/index.js';
import { mpiLauncher, RankFailure, type MpiPlace } from '#runtime/launch/index.js';
import { train } from '#runtime/train/index.js';
import { smallJob, smallJobSteps, smallText } from './small-job.js';

/** Room for a few of the checkpoints, not for all. */
const roomKibibytes = 1024;

/**
 * Runs it on two hosts of two ranks. Returns what the failed run said; throws when something is otherwise than it
 * should be.
 */
export async function fillDisk(place: MpiPlace): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'monta-full-disk-'));
  const [text, small, roomy] = ['text.txt', 'small', 'roomy'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(text, smallText);
  mkdirSync(small);
  // Seen by this process and all that it starts, on both hosts.
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${roomKibibytes}k`, 'tmpfs', small]);
  const launcher = mpiLauncher(place);
  try {
    const failure: unknown = await train({ launcher, job: smallJob(text, small) }).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(failure instanceof RankFailure))
      throw new Error(`the run did not end by a rank's failure: ${String(failure)}`);
    if (!/disk is full \(ENOSPC\)/.test(failure.message))
      throw new Error(`otherwise than expected: ${failure.message}`);
    const latest = latestState(small);
    if (latest === undefined || latest.skipped.length > 0)
      throw new Error(`what is left cannot be used: ${latest?.skipped.join('; ') ?? 'nothing'}`);
    if (!failure.message.includes(`${stepFolderName(latest.step)} stays usable`))
      throw new Error(`step ${latest.step} is left, but it said: ${failure.message}`);
    const resumed = await train({ launcher, job: { ...smallJob(text, roomy), resume: small } });
    const [first] = resumed.steps;
    if (first?.step !== latest.step + 1 || resumed.checkpoints.at(-1)?.step !== smallJobSteps)
      throw new Error(`went on with step ${first?.step ?? 'none'} to ${resumed.checkpoints.at(-1)?.step ?? 'none'}`);
    return failure.message;
  } finally {
    execFileSync('umount', [small]);
    rmSync(root, { recursive: true, force: true });
  }
}
