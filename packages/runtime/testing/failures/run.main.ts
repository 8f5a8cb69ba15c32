/**
 * A run in a process of its own, for the failure suite: `node run.main.js local|mpi JOB`. Prints a line for each
 * report; ends with exit code 1 and the message when it fails.
 */
import { writeSync } from 'node:fs';
import { InputError } from '@monta/core';
import { localLauncher, mpiLauncher } from '#runtime/launch/index.js';
import { train, type TrainJob } from '#runtime/train/index.js';

const [backend, job = ''] = process.argv.slice(2);
try {
  await train({
    job: JSON.parse(job) as TrainJob,
    launcher: backend === 'mpi' ? mpiLauncher({ lostAfterSeconds: 5 }) : localLauncher,
    onReport: (report) => writeSync(1, `${report.kind} ${report.step}\n`),
  });
} catch (error) {
  const said = error instanceof InputError ? error.format() : error instanceof Error ? error.message : String(error);
  writeSync(2, `${said}\n`);
  process.exitCode = 1;
}
