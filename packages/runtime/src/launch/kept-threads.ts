/**
 * Threads that stay when they have done their part of a job, for the next job of this process. What a new thread spends
 * on loading modules and compiling them is far more than a short job itself: who starts many of these keeps threads.
 */
import { Worker } from 'node:worker_threads';

let limit = 0;
const idle = new Map<string, Worker[]>();

/** Keeps up to `count` idle threads of each kind; at first none is kept. Idle threads do not keep the process alive. */
export function keepThreads(count: number): void {
  limit = count;
  for (const workers of idle.values()) for (const worker of workers.splice(count)) void worker.terminate();
}

/** A thread that runs the module `entry`, which takes its jobs as messages: a kept one or a new one. */
export function takeThread(entry: URL): Worker {
  const worker = idle.get(entry.href)?.pop() ?? new Worker(entry);
  worker.removeAllListeners();
  worker.ref();
  return worker;
}

/** Ends a thread that has done its job, or keeps it for another. */
export async function leaveThread(entry: URL, worker: Worker): Promise<void> {
  const kept = idle.get(entry.href) ?? [];
  idle.set(entry.href, kept);
  if (kept.length >= limit) {
    await worker.terminate();
    return;
  }
  worker.removeAllListeners();
  const forget = (): void => {
    const place = kept.indexOf(worker);
    if (place >= 0) kept.splice(place, 1);
  };
  worker.on('error', forget);
  worker.on('exit', forget);
  worker.unref();
  kept.push(worker);
}
