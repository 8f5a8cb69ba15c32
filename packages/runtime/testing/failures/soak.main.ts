/**
 * A long run in a process of its own, for the failure suite: `node --expose-gc soak.main.ts JOB SAMPLES`. Prints,
 * evenly over the run, a line of what its memory holds after a collection of garbage.
 */
import { writeSync } from 'node:fs';
import { memoryUsage } from 'node:process';
import { train, type TrainJob } from '#runtime/train/index.js';
import type { SoakSample } from './soak.js';

const [given = '', count = '20'] = process.argv.slice(2);
const job = JSON.parse(given) as TrainJob;
const every = Math.max(1, Math.floor(job.steps / Number(count)));
const collect = globalThis.gc;
if (collect === undefined) throw new Error('start it with --expose-gc');

await train({
  job,
  onReport: (report) => {
    if (report.kind !== 'step' || report.step % every !== 0) return;
    collect();
    const { rss, heapUsed, external, arrayBuffers } = memoryUsage();
    const sample: SoakSample = { step: report.step, rss, heapUsed, external, arrayBuffers };
    writeSync(1, `${JSON.stringify(sample)}\n`);
  },
});
