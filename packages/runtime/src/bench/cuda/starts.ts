/**
 * Starts and stops of a job, again and again, and what they leave: processes, multi-process services, files in shared
 * memory, memory of cards.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { maxOf, median } from '@monta/core/units';
import type { Launcher } from '../../launch/index.js';

/** What jobs could leave on a host. */
export interface HostTraces {
  /** Ranks' processes that still run. */
  readonly processes: readonly string[];
  /** Processes of NVIDIA's multi-process service. */
  readonly services: readonly string[];
  /** In /dev/shm. */
  readonly files: readonly string[];
  /** Of every card that jobs may use, taken by anybody. */
  readonly cardBytes: readonly number[];
}

export interface StartsReport {
  readonly ranks: number;
  readonly asked: number;
  readonly done: number;
  readonly failed: readonly string[];
  readonly medianSeconds: number;
  readonly slowestSeconds: number;
  /** What is there after the last that was not there before the first. */
  readonly left: {
    readonly processes: readonly string[];
    readonly services: readonly string[];
    readonly files: readonly string[];
    readonly cardBytes: number;
  };
}

export interface StartsOptions {
  readonly launcher: Launcher;
  readonly ranks: number;
  readonly count: number;
  /** No new start after so many. */
  readonly seconds: number;
  readonly look: () => HostTraces;
  /** How long things may take to be gone after the last job. */
  readonly settleSeconds: number;
  /** Told after every tenth. */
  readonly onReport: (soFar: StartsReport) => void;
}

const toldEvery = 10;

/** Starts, stops, and looks. A job that fails is counted, and does not end the rest. */
export async function measureStarts(options: StartsOptions): Promise<StartsReport> {
  const { launcher, ranks, count, seconds, look, settleSeconds, onReport } = options;
  const before = look();
  const begun = performance.now();
  const times: number[] = [];
  const failed: string[] = [];
  const reportOf = (left: StartsReport['left']): StartsReport => ({
    ranks,
    asked: count,
    done: times.length,
    failed: [...failed],
    medianSeconds: median(times),
    slowestSeconds: maxOf(times),
    left,
  });
  for (let start = 0; start < count && performance.now() - begun < seconds * 1e3; start++) {
    const from = performance.now();
    try {
      await launcher.launch({
        ranks,
        memoryBytes: 2 ** 20,
        workerModule: new URL('./starts.worker.ts', import.meta.url),
        stuckAfterSeconds: 30,
      });
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error));
    }
    times.push((performance.now() - from) / 1e3);
    if (times.length % toldEvery === 0) onReport(reportOf(leftBehind(before, look())));
  }
  let left = leftBehind(before, look());
  for (const end = performance.now() + settleSeconds * 1e3; !isNothing(left) && performance.now() < end;) {
    await delay(200);
    left = leftBehind(before, look());
  }
  return reportOf(left);
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** What is there now and was not before; memory of all cards together, and no less than none. */
export function leftBehind(before: HostTraces, now: HostTraces): StartsReport['left'] {
  const added = (of: 'processes' | 'services' | 'files'): string[] =>
    now[of].filter((one) => !before[of].includes(one));
  return {
    processes: added('processes'),
    services: added('services'),
    files: added('files'),
    cardBytes: Math.max(0, total(now.cardBytes) - total(before.cardBytes)),
  };
}

export const isNothing = ({ processes, services, files, cardBytes }: StartsReport['left']): boolean =>
  processes.length + services.length + files.length === 0 && cardBytes === 0;

const mebibyte = 2 ** 20;
const sharedMemory = '/dev/shm';

/**
 * Looks at this host: processes of this program's ranks and of the service, files, cards as nvidia-smi tells. Of cards
 * it looks at those that `CUDA_VISIBLE_DEVICES` leaves: others may work on the rest.
 */
export function lookAtHost(): HostTraces {
  const commands = readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name))
    .flatMap((pid) => {
      try {
        return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()}`];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
  return {
    processes: commands.filter((command) => command.includes('nccl-main.js')),
    services: commands.filter((command) => command.includes('nvidia-cuda-mps')),
    files: readdirSync(sharedMemory),
    cardBytes: usedMemory(),
  };
}

function usedMemory(visible = process.env['CUDA_VISIBLE_DEVICES'] ?? ''): number[] {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits'];
  const cards = visible === '' ? [] : [`--id=${visible}`];
  const text = execFileSync('nvidia-smi', [...query, ...cards], { encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => Number(line) * mebibyte);
}
