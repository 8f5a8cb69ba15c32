/**
 * Starts a job on this machine: one thread per rank and one that moves bytes between them; watches them, and cleans up.
 */
import type { Worker } from 'node:worker_threads';
import { at } from '../comm/at.js';
import { Control, createControl } from '../comm/local/control.js';
import type { FabricOptions } from '../comm/local/fabric.js';
import type { MoverData, MoverReport } from '../comm/local/mover.worker.js';
import { InputError } from '@monta/core/units';
import { CpuDevice, type CpuDeviceHandle } from '../device/cpu/cpu-device.js';
import { builtModule } from './built-module.js';
import { RankFailure, restored, type PortableError } from './failure.js';
import { leaveThread, takeThread, type Purpose } from './kept-threads.js';
import type { DeviceKind, RankMessage, ThreadJob } from './rank.js';

export interface LaunchOptions {
  readonly ranks: number;
  /** Device memory of each rank, bytes; it grows on demand. */
  readonly memoryBytes: number;
  /** Limit of growth, bytes. */
  readonly maximumMemoryBytes?: number;
  /** What the ranks compute on; default: this machine's processor. A card takes one rank so far. */
  readonly device?: DeviceKind;
  /** A module that calls `runRank`. A path into `src` is mapped to the built file. */
  readonly workerModule: URL | string;
  /** Given to every rank as `context.data` (structured clone). */
  readonly workerData?: unknown;
  /** Emulates a cluster's network; without it bytes move at memory speed. */
  readonly fabric?: FabricOptions;
  /**
   * Called at the end of a job with a fabric: what every port carried, and for how many seconds the emulated network
   * stood still because the machine had no processor for it. More than a few per cent of the job means that it was
   * slower than asked.
   */
  readonly onFabricReport?: (report: MoverReport) => void;
  /** Whether endpoints keep `TransferRecord`s. */
  readonly trace?: boolean;
  readonly onMessage?: (rank: number, message: unknown) => void;
  /** Stops the job: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /**
   * A rank that still runs but keeps others waiting in one operation for longer than this ends the job. A rank that has
   * returned, or ranks that all wait for each other, are found at once. Default: 10 minutes.
   */
  readonly stuckAfterSeconds?: number;
}

/** What the threads of a job run. */
const mover: Purpose = { entry: builtModule('../comm/local/mover.worker.js', import.meta.url) };
const rankEntry = builtModule('./rank.worker.js', import.meta.url);

/** How long threads have to leave by themselves when the job ends badly, and when a person stops it. */
const graceMilliseconds = { failed: 1000, stopped: 300 };

/**
 * Runs a job of `ranks` threads and returns what each rank's body returned, by rank. When a rank throws, exits or is
 * terminated, or when the ranks misuse the communicators, all are stopped and the promise rejects with `RankFailure`,
 * which names the rank that caused it. No thread is left running either way (`keepThreads`: idle ones are left).
 */
export async function launchLocal(options: LaunchOptions): Promise<unknown[]> {
  const { ranks, signal } = options;
  if (!Number.isInteger(ranks) || ranks < 1)
    throw new RangeError(`ranks must be a whole number of at least 1, not ${ranks}`);
  if (options.device === 'cuda' && ranks > 1)
    throw new InputError(`${ranks} ranks on cards`, {
      path: 'layout',
      expected: 'a layout of one rank: the local backend carries no bytes between cards',
    });
  signal?.throwIfAborted();
  const job = new LocalJob(options);
  const stop = (): void => job.stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await job.run();
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

class LocalJob {
  private readonly control: Control;
  private readonly devices: readonly CpuDeviceHandle[];
  private readonly results: unknown[];
  private readonly returned: boolean[];
  private readonly errors = new Map<number, PortableError>();
  private readonly threads: JobThread[] = [];
  private settle: () => void = () => undefined;

  constructor(private readonly options: LaunchOptions) {
    const { ranks, memoryBytes, maximumMemoryBytes, trace = false } = options;
    this.control = new Control(createControl(ranks, trace));
    const size = maximumMemoryBytes === undefined ? {} : { maximumBytes: maximumMemoryBytes };
    this.devices = Array.from({ length: ranks }, () => CpuDevice.createHandle({ bytes: memoryBytes, ...size }));
    this.results = Array.from({ length: ranks });
    this.returned = Array.from({ length: ranks }, () => false);
  }

  stop(): void {
    this.control.abort(-1, 'stopped by the caller');
    this.settle();
  }

  async run(): Promise<unknown[]> {
    const over = new Promise<void>((resolve) => {
      this.settle = resolve;
    });
    try {
      const moving = this.startMover();
      for (let rank = 0; rank < this.options.ranks; rank++) this.startRank(rank);
      await over;
      // Operations that ranks submitted but did not wait for still complete; the mover ends after them.
      this.control.requestStop();
      if (!this.control.aborted()) await moving.over;
      if (!this.control.aborted()) return this.results;
      const grace = graceMilliseconds[this.options.signal?.aborted === true ? 'stopped' : 'failed'];
      await Promise.race([Promise.all(this.threads.map((thread) => thread.over)), pause(grace)]);
      throw this.failure();
    } finally {
      this.control.abort(-1, 'the launcher ended');
      await Promise.all(this.threads.map((thread) => thread.leave()));
    }
  }

  private failure(): unknown {
    const { rank, reason } = this.control.abortCause();
    const { signal } = this.options;
    if (rank < 0 && signal?.aborted === true) return signal.reason;
    const original = this.errors.get(rank);
    const cause = original !== undefined && original.name !== 'JobAborted' ? restored(original) : undefined;
    return new RankFailure(rank, reason, cause === undefined ? undefined : { cause });
  }

  private startMover(): JobThread {
    const job: MoverData = {
      control: this.control.shared,
      devices: this.devices,
      stuckAfterSeconds: this.options.stuckAfterSeconds ?? 600,
      ...(this.options.fabric === undefined ? {} : { fabric: this.options.fabric }),
    };
    const thread = this.startThread(mover, () => {
      if (this.control.aborted()) this.settle();
      else if (!this.control.stopRequested()) this.fail(-1, 'it ended');
    });
    thread.worker.on('error', (error) =>
      this.fail(-1, error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
    thread.worker.on('message', (report: MoverReport) => {
      this.options.onFabricReport?.(report);
      thread.end();
    });
    thread.worker.postMessage(job);
    return thread;
  }

  private startRank(rank: number): void {
    const { device, workerModule, workerData } = this.options;
    const module = builtModule(workerModule);
    const job: ThreadJob = {
      module: module.href,
      rank,
      control: this.control.shared,
      device: device === 'cuda' ? 'cuda' : at(this.devices, rank),
      data: workerData,
    };
    const thread = this.startThread({ entry: rankEntry, module }, (code) => {
      if (this.returned[rank] || this.errors.has(rank)) return;
      this.fail(rank, `its thread exited with code ${code} before it returned`);
    });
    thread.worker.on('message', (message: RankMessage) => {
      this.receive(rank, message);
      if (message.kind !== 'message') thread.end();
    });
    thread.worker.on('messageerror', (error) => this.fail(rank, `a message could not be read: ${error.message}`));
    thread.worker.on('error', (error: unknown) => {
      const known = error instanceof Error ? error : new Error(String(error));
      this.errors.set(rank, { name: known.name, message: known.message, stack: known.stack ?? known.message });
      this.fail(rank, known.message);
    });
    thread.worker.postMessage(job);
  }

  private startThread(purpose: Purpose, onEnd: (code: number) => void): JobThread {
    const thread = new JobThread(purpose, onEnd);
    this.threads.push(thread);
    return thread;
  }

  private receive(rank: number, message: RankMessage): void {
    switch (message.kind) {
      case 'message':
        this.options.onMessage?.(rank, message.message);
        return;
      case 'result':
        this.results[rank] = message.result;
        this.returned[rank] = true;
        if (this.returned.every(Boolean)) this.settle();
        return;
      case 'failed':
        this.errors.set(rank, message.error);
        // A rank that only heard of the end of the job changes nothing: the first cause stands.
        this.fail(rank, message.error.message);
    }
  }

  private fail(rank: number, reason: string): void {
    this.control.abort(rank, reason);
    this.settle();
  }
}

/** A thread of one job. */
class JobThread {
  readonly worker: Worker;
  /** Resolved when it has done its part, or is gone. */
  readonly over: Promise<void>;
  #idle = false;
  #resolve: () => void = () => undefined;

  /** `onEnd` is called with code 0, or with that of its exit. */
  constructor(
    private readonly purpose: Purpose,
    private readonly onEnd: (code: number) => void,
  ) {
    this.worker = takeThread(purpose);
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.worker.once('exit', (code) => {
      if (!this.#idle) this.#over(code);
    });
  }

  /** It has said its last word, and could do another job. */
  end(): void {
    this.#idle = true;
    this.#over(0);
  }

  /** A thread that still runs is stopped. */
  async leave(): Promise<void> {
    if (this.#idle) await leaveThread(this.purpose, this.worker);
    else await this.worker.terminate();
  }

  #over(code: number): void {
    this.onEnd(code);
    this.#resolve();
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}
