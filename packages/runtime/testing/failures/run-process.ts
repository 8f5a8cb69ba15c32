/** Runs of the failure suite as processes, which may be harmed and are watched until none of theirs is left. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { TrainJob } from '#runtime/train/index.js';

export type Backend = 'local' | 'mpi';

/**
 * A run that has not ended by then hangs. Time that it waits for a processor does not count, or another program's load
 * would look like a hang.
 */
const mostSeconds = 60;
/** Of the clock on the wall. */
const mostWallSeconds = 600;
/** How long processes of a run that has ended may take to go: ranks over MPI miss their launcher after 5 s. */
const leaveSeconds = 25;

export interface Running {
  readonly pid: number;
  /** All processes of the run: the launcher, mpirun and the ranks. */
  readonly processes: () => number[];
}

export interface Ended {
  readonly pid: number;
  readonly code: number | null;
  readonly errors: string;
  readonly reports: readonly string[];
  readonly seconds: number;
  readonly hung: boolean;
  /** Processes that were left. */
  readonly left: number;
}

/** Processes whose environment has the mark; zombies have none. */
function marked(mark: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/u.test(name)) return [];
    try {
      return readFileSync(`/proc/${name}/environ`, 'latin1').includes(mark) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

/** Seconds that the thread which waited longest for a processor has waited. */
function waitedSeconds(pids: readonly number[]): number {
  let most = 0;
  for (const pid of pids) {
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const waited = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[1];
        most = Math.max(most, Number(waited) / 1e9);
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return most;
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Starts a run, lets `harm` do what it likes beside it, and waits for its end. */
export async function runProcess(
  backend: Backend,
  job: TrainJob,
  harm: (running: Running, line: (kind: string) => Promise<void>) => Promise<void> = async () => undefined,
): Promise<Ended> {
  const mark = `MONTA_FAULT=${randomUUID()}`;
  const [name = '', value] = mark.split('=');
  const main = fileURLToPath(new URL('./run.main.js', import.meta.url));
  const since = performance.now();
  const child = spawn(process.execPath, [main, backend, JSON.stringify(job)], {
    env: { ...process.env, [name]: value },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, errors, hung] = ['', '', false];
  const ended = new Promise<number | null>((resolve) => void child.once('close', (code) => resolve(code)));
  child.stdout.on('data', (piece: Buffer) => (out += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (errors += piece.toString()));
  /** Resolves at the first line that begins so, or at the end. */
  const line = async (kind: string): Promise<void> => {
    const state = { over: false };
    void ended.then(() => (state.over = true));
    while (!state.over && !out.split('\n').some((one) => one.startsWith(kind))) await pause(10);
  };
  let waited = 0;
  const watch = setInterval(() => {
    const [running, elapsed] = [marked(mark), (performance.now() - since) / 1000];
    waited = Math.max(waited, waitedSeconds(running));
    if (elapsed - waited <= mostSeconds && elapsed <= mostWallSeconds) return;
    hung = true;
    killAll(running);
  }, 1000);
  await Promise.all([ended, harm({ pid: child.pid ?? 0, processes: () => marked(mark) }, line)]);
  clearInterval(watch);
  const seconds = (performance.now() - since) / 1000;
  const until = performance.now() + leaveSeconds * 1000;
  while (marked(mark).length > 0 && performance.now() < until) await pause(100);
  const left = marked(mark);
  killAll(left);
  return {
    pid: child.pid ?? 0,
    code: await ended,
    errors,
    reports: out.trim().split('\n'),
    seconds,
    hung,
    left: left.length,
  };
}
