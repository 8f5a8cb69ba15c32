/** Harms of one kind each, with what the run must then do. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { TrainJob } from '#runtime/train/index.js';
import { goesOn, lastBits, type Outcome } from './kills.js';
import { runProcess, type Backend, type Ended } from './run-process.js';

export interface Harm {
  readonly name: string;
  readonly backend: Backend;
  /** Whether it needs a file system of its own. */
  readonly mounts?: boolean;
  readonly run: (job: TrainJob, bits: string) => Promise<Outcome>;
}

const folderOf = (job: TrainJob): string => job.checkpoint?.folder ?? '';

const goodEnd = (job: TrainJob, ended: Ended, bits: string): Outcome => ({
  hung: ended.hung,
  torn: false,
  left: ended.left > 0,
  equal: ended.code === 0 && lastBits(folderOf(job)) === bits,
  ...(ended.code === 0 ? {} : { trouble: ended.errors }),
  seconds: ended.seconds,
});

/** The run must end by itself with exit code 1 and such a message, and go on from what it saved. */
async function mustFail({ backend, job, bits, ended, message }: Failing): Promise<Outcome> {
  const said = ended.code === 1 && message.test(ended.errors);
  const outcome = await goesOn(backend, job, ended, bits);
  return said ? outcome : { ...outcome, trouble: `exit code ${ended.code}: ${ended.errors}` };
}

interface Failing {
  readonly backend: Backend;
  readonly job: TrainJob;
  readonly bits: string;
  readonly ended: Ended;
  readonly message: RegExp;
}

/** Puts a file system of its own, in memory, under the checkpoints while `use` runs; it is what runs write to. */
async function onTmpfs<T>(folder: string, kibibytes: number, use: () => Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kibibytes}k`, 'tmpfs', folder]);
  try {
    return await use();
  } finally {
    execFileSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether this process may mount file systems: being root is not enough in a container. */
export function canMount(folder: string): boolean {
  const place = join(folder, 'mount');
  mkdirSync(place);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', place]).status === 0;
  if (mounted) execFileSync('umount', [place]);
  rmSync(place, { recursive: true });
  return mounted;
}

const remount = (folder: string, options: string): void =>
  void execFileSync('mount', ['-o', `remount,${options}`, folder], { stdio: 'ignore' });

/** Sockets of the run that listen: ports of the machine, and those in folders. */
function listening(processes: readonly number[]): (() => Socket)[] {
  const lines = execFileSync('ss', ['-Hltnxp'], { encoding: 'utf8' }).split('\n');
  return lines.flatMap((line) => {
    if (!processes.some((pid) => line.includes(`pid=${pid},`))) return [];
    const path = /\s(\/\S+)\s+\d+\s/u.exec(line)?.[1];
    const port = /:(\d+)\s+\S+:\*/u.exec(line)?.[1];
    if (path !== undefined) return [() => createConnection(path)];
    return port === undefined ? [] : [() => createConnection(Number(port), '127.0.0.1')];
  });
}

/** Four strangers to each socket: silent, garbage, a giant length, and half a greeting. */
async function strangers(processes: readonly number[]): Promise<void> {
  const sockets = listening(processes);
  if (sockets.length === 0) throw new Error('the run listens on nothing, and its launcher should');
  for (const connect of sockets)
    for (const words of [undefined, 'GET / HTTP/1.1\r\n\r\n', Buffer.alloc(65_536, 0xff), 'monta-1 ']) {
      const socket = connect();
      socket.on('error', () => undefined);
      socket.resume();
      if (words !== undefined) socket.write(words);
      socket.unref();
    }
  await pause(50);
}

export const harms: readonly Harm[] = [
  {
    name: 'full disk',
    backend: 'local',
    mounts: true,
    run: (job, bits) =>
      onTmpfs(folderOf(job), 768, async () => {
        const ended = await runProcess('local', { ...job, checkpoint: { folder: folderOf(job), every: 1, keep: 99 } });
        remount(folderOf(job), 'size=64m');
        return mustFail({ backend: 'local', job, bits, ended, message: /disk is full \(ENOSPC\)/u });
      }),
  },
  {
    name: 'checkpoints read-only',
    backend: 'local',
    mounts: true,
    run: (job, bits) =>
      onTmpfs(folderOf(job), 65_536, async () => {
        const ended = await runProcess('local', job, async (_, line) => {
          await line('checkpoint 2');
          for (let attempt = 0; attempt < 200; attempt++) {
            try {
              remount(folderOf(job), 'ro');
              return;
            } catch {
              // A file is being written.
              await pause(1);
            }
          }
        });
        remount(folderOf(job), 'rw');
        return mustFail({ backend: 'local', job, bits, ended, message: /read-only|EROFS/u });
      }),
  },
  {
    name: 'checkpoints removed',
    backend: 'local',
    run: async (job, bits) => {
      const ended = await runProcess('local', job, async (_, line) => {
        await line('checkpoint 3');
        // The run may be writing into it.
        renameSync(folderOf(job), `${folderOf(job)}-gone`);
      });
      return ended.code === 0 ? goodEnd(job, ended, bits) : goesOn('local', job, ended, bits);
    },
  },
  {
    name: 'resumed from meanwhile',
    backend: 'local',
    run: async (job, bits) => {
      const other = {
        ...job,
        checkpoint: { folder: `${folderOf(job)}-other`, every: 1, keep: 1 },
        resume: folderOf(job),
      };
      const others: Ended[] = [];
      const ended = await runProcess('local', job, async (_, line) => {
        await line('checkpoint 2');
        others.push(await runProcess('local', other));
      });
      const [second] = others;
      const outcome = goodEnd(job, ended, bits);
      // The last step may have been all there was left to do, and a checkpoint may go while it is read.
      const said = second !== undefined && second.code !== 0 && second.errors.includes(folderOf(job));
      if (second === undefined || said) return outcome;
      const went = goodEnd(other, second, bits);
      return { ...outcome, equal: outcome.equal && went.equal, hung: outcome.hung || went.hung };
    },
  },
  {
    name: 'stopped for a second',
    backend: 'local',
    run: async (job, bits) => {
      const ended = await runProcess('local', job, async ({ pid }, line) => {
        await line('step 2');
        process.kill(pid, 'SIGSTOP');
        await pause(1000);
        process.kill(pid, 'SIGCONT');
      });
      return goodEnd(job, ended, bits);
    },
  },
  {
    name: 'a rank stopped for good',
    backend: 'mpi',
    run: async (job, bits) => {
      const ended = await runProcess('mpi', job, async ({ pid, processes }, line) => {
        await line('step 2');
        const rank = processes().findLast((one) => one !== pid);
        if (rank !== undefined) process.kill(rank, 'SIGSTOP');
      });
      return mustFail({ backend: 'mpi', job, bits, ended, message: /not heard from|ended/u });
    },
  },
  {
    name: 'strangers on every open socket',
    backend: 'mpi',
    run: async (job, bits) => {
      const ended = await runProcess('mpi', job, async ({ processes }, line) => {
        await line('step 1');
        await strangers(processes());
      });
      return goodEnd(job, ended, bits);
    },
  },
  {
    name: 'a run that diverges',
    backend: 'local',
    run: async (job, bits) => {
      const wild = { ...job.optimizer, learningRate: 1e37, warmup: 12, clip: Number.MAX_VALUE, weightDecay: 0 };
      const place = `${folderOf(job)}-wild`;
      const ended = await runProcess('local', {
        ...job,
        optimizer: wild,
        checkpoint: { folder: place, every: 1, keep: 1 },
      });
      return mustFail({ backend: 'local', job, bits, ended, message: /not finite/u });
    },
  },
];
