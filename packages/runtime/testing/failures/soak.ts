/** Whether a run takes more memory the longer it is. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TrainJob } from '#runtime/train/index.js';

/** Bytes after a step, garbage collected on the thread of the launcher. `rss` is of the process with all its ranks. */
export interface SoakSample {
  readonly step: number;
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly arrayBuffers: number;
}

const samples = 20;

/** Runs the job, and returns what its memory held evenly over the run. */
export function soak(job: TrainJob): SoakSample[] {
  const main = fileURLToPath(new URL('./soak.main.js', import.meta.url));
  const ran = spawnSync(process.execPath, ['--expose-gc', main, JSON.stringify(job), String(samples)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (ran.status !== 0) throw new Error(`the long run ended with ${ran.status ?? ran.signal}`);
  return ran.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as SoakSample);
}
