/**
 * Threads that stay when they have done their part of a job, for the next job of this process. What a new thread spends
 * on loading modules and compiling them is far more than a short job itself: who starts many of these keeps threads.
 */
import { Worker } from 'node:worker_threads';

/**
 * What a thread runs: a module of Monta, and the one that this loads. Threads of another purpose never mix; those whose
 * module is one of this package's own have one purpose, since these set up nothing but what ranks run.
 */
export interface Purpose {
  readonly entry: URL;
  readonly module?: URL;
}

interface Kept {
  readonly purpose: string;
  readonly worker: Worker;
}

function named({ entry, module }: Purpose): string {
  const own = new URL('..', entry).href;
  return module === undefined || module.href.startsWith(own) ? entry.href : `${entry.href} ${module.href}`;
}

let limit = 0;
/** The one that was left last comes last. */
const idle: Kept[] = [];

/** Keeps up to `count` idle threads; at first none is kept. Idle threads do not keep the process alive. */
export function keepThreads(count: number): void {
  limit = count;
  endBeyondLimit();
}

/** Keeps as many while `body` runs, or more where more are kept anyway: for jobs that follow each other. */
export async function whileKeepingThreads<T>(count: number, body: () => Promise<T>): Promise<T> {
  const before = limit;
  keepThreads(Math.max(before, count));
  try {
    return await body();
  } finally {
    keepThreads(before);
  }
}

/** A kept thread of this purpose, or a new one. It takes its jobs as messages. */
export function takeThread(purpose: Purpose): Worker {
  const place = idle.findLastIndex((kept) => kept.purpose === named(purpose));
  const worker = place < 0 ? new Worker(purpose.entry) : idle.splice(place, 1)[0].worker;
  worker.removeAllListeners();
  worker.ref();
  return worker;
}

/** Ends a thread that has done its job, or keeps it for another; those that have been idle longest make room. */
export async function leaveThread(purpose: Purpose, worker: Worker): Promise<void> {
  if (limit === 0) {
    await worker.terminate();
    return;
  }
  const kept = { purpose: named(purpose), worker };
  const forget = (): void => {
    const place = idle.indexOf(kept);
    if (place >= 0) idle.splice(place, 1);
  };
  worker.removeAllListeners();
  worker.on('error', forget);
  worker.on('exit', forget);
  worker.unref();
  idle.push(kept);
  endBeyondLimit();
}

function endBeyondLimit(): void {
  for (const { worker } of idle.splice(0, Math.max(0, idle.length - limit))) void worker.terminate();
}
