/**
 * Runs mutations in threads that may be ended: each has 5 s of a processor and each thread 1 GiB of heap. Time that a
 * thread waits for a processor does not count, or another program's load would look like a slow reader.
 */
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { FuzzJob, FuzzNote } from './fuzz.worker.js';

const mostSeconds = 5;
/** Of the clock on the wall: a reader that waits for something for ever computes nothing. */
const mostWallSeconds = 120;
const mostHeapMebibytes = 1024;

export interface Trouble {
  readonly number: number;
  readonly target: string;
  readonly what: string;
}

export interface FuzzResult {
  /** By target: mutations that were read, and that were refused with exit code 2. */
  readonly counts: ReadonlyMap<string, { read: number; refused: number; seconds: number }>;
  readonly troubles: readonly Trouble[];
  /** The number of the next mutation. */
  readonly next: number;
}

export interface FuzzOptions {
  readonly worker: URL;
  readonly seed: number;
  readonly first: number;
  readonly count: number;
}

/**
 * Runs the mutations `first` to `first + count`; one that crashes or takes too long is noted, and the next ones follow
 * in another thread.
 */
export async function fuzz({ worker, seed, first, count }: FuzzOptions): Promise<FuzzResult> {
  const counts = new Map<string, { read: number; refused: number; seconds: number }>();
  const troubles: Trouble[] = [];
  const end = first + count;
  let next = first;
  while (next < end) next = await inThread({ seed, first: next, end }, worker, counts, troubles);
  return { counts, troubles, next };
}

/** Resolves with the number of the mutation to go on with. */
function inThread(
  job: FuzzJob,
  module: URL,
  counts: Map<string, { read: number; refused: number; seconds: number }>,
  troubles: Trouble[],
): Promise<number> {
  const worker = new Worker(module, {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: mostHeapMebibytes },
  });
  let schedule = '';
  /** Seconds that the thread has computed. */
  const computed = (): number => Number(readFileSync(schedule, 'latin1').split(' ')[0]) / 1e9;
  let now = { number: job.first, target: 'start', since: 0, began: 0 };
  let ended = job.first;
  const trouble = (what: string): void => void troubles.push({ number: now.number, target: now.target, what });
  worker.on('message', (note: FuzzNote) => {
    if (note.kind === 'thread') {
      schedule = note.schedule;
      return;
    }
    if (note.kind === 'begins') {
      now = { number: note.number, target: note.target, since: note.computed, began: performance.now() };
      return;
    }
    ended = note.number + 1;
    if (note.kind === 'crashed') {
      trouble(note.error);
      return;
    }
    const count = counts.get(now.target) ?? { read: 0, refused: 0, seconds: 0 };
    count[note.how] += 1;
    count.seconds = Math.max(count.seconds, note.computed - now.since);
    counts.set(now.target, count);
  });
  return new Promise((resolve, reject) => {
    const watch = setInterval(() => {
      // Before its first mutation a thread makes the samples.
      if (now.target === 'start' || ended > now.number) return;
      const waited = performance.now() - now.began > mostWallSeconds * 1000;
      if (!waited && computed() - now.since < mostSeconds) return;
      trouble(waited ? `did not end in ${mostWallSeconds} s` : `took more than ${mostSeconds} s`);
      ended = now.number + 1;
      void worker.terminate();
    }, 200);
    worker.once('error', (error) => {
      // A sample that is refused: every thread would end so.
      if (now.target === 'start') reject(error instanceof Error ? error : new Error(String(error)));
      trouble(error instanceof Error ? error.message : String(error));
      ended = now.number + 1;
    });
    worker.once('exit', () => {
      clearInterval(watch);
      resolve(ended);
    });
  });
}
