/**
 * A run in a process of its own, for tests that kill it: trains as its argument says and prints every report as a line.
 */
import { writeSync } from 'node:fs';
import { train } from '#runtime/train/train.js';
import type { TrainJob } from '#runtime/train/job.js';

const print = (value: unknown): void => {
  writeSync(1, `${JSON.stringify(value)}\n`);
};

await train({
  job: JSON.parse(process.argv[2] ?? '') as TrainJob,
  onStart: (start) => print({ kind: 'start', ...start }),
  onReport: print,
});
