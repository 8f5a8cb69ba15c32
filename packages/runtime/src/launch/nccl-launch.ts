/** Starts a job of processes on this machine's cards, which communicate by NCCL; watches them, and cleans up. */
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { cudaAvailable } from '../device/cuda/bindings/index.js';
import { builtModule } from './built-module.js';
import { RankFailure, restored } from './failure.js';
import { gpuPlaces, ncclEnvironment } from './gpu-places.js';
import {
  defaultLostSeconds,
  defaultStartSeconds,
  explanationMilliseconds,
  finishMilliseconds,
  leaveMilliseconds,
  pause,
} from './job-times.js';
import type { LaunchOptions } from './launch-local.js';
import { launcherVariable, makeToken, tokenVariable } from './mpi-frames.js';
import { Hub, type HubEvent } from './mpi-hub.js';
import { startMps } from './mps.js';
import { placeVariable, type RankPlace } from './nccl-place.js';
import { makePlace } from './private-place.js';
import { montaVersion } from './version.js';

export interface NcclLaunchOptions extends Omit<LaunchOptions, 'fabric' | 'onFabricReport'> {
  /** This machine stands for nodes of so many ranks; all ranks on one node unless given. */
  readonly ranksPerNode?: number;
  /** Cards to use; all of this machine unless given. */
  readonly gpus?: number;
  /** Multiprocessors that collectives take at most, by lane. */
  readonly multiprocessors?: Readonly<Record<string, number>>;
  /** A rank that has not been heard from for so long ends the job. Default: 15 s. */
  readonly lostAfterSeconds?: number;
  /** All ranks must have started by then. Default: 60 s. */
  readonly startSeconds?: number;
}

/**
 * Runs a job of `ranks` processes and returns what each rank's body returned, by rank. Rejects as `launchLocal` does.
 * All processes have ended either way. Throws `InputError` where there is no card, or ranks do not fill the nodes.
 */
export async function launchNccl(options: NcclLaunchOptions): Promise<unknown[]> {
  const { ranks, signal } = options;
  if (!Number.isInteger(ranks) || ranks < 1)
    throw new RangeError(`ranks must be a whole number of at least 1, not ${ranks}`);
  signal?.throwIfAborted();
  const folder = makePlace();
  const job = new ProcessJob(options, folder);
  const stop = (): void => job.decide({ kind: 'stopped' });
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await job.run();
  } finally {
    signal?.removeEventListener('abort', stop);
    rmSync(folder, { recursive: true, force: true });
  }
}

type Outcome =
  { readonly kind: 'all returned' | 'stopped' } | { readonly kind: 'failed'; readonly failure: RankFailure };

class ProcessJob {
  readonly #options: NcclLaunchOptions;
  readonly #folder: string;
  readonly #token = makeToken();
  readonly #hub: Hub;
  #resolve: (outcome: Outcome) => void = () => undefined;
  readonly #decided = new Promise<Outcome>((resolve) => {
    this.#resolve = resolve;
  });
  #sign: RankFailure | undefined;

  constructor(options: NcclLaunchOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    const { ranks, memoryBytes, maximumMemoryBytes, trace = false, stuckAfterSeconds, onMessage } = options;
    this.#hub = new Hub({
      ranks,
      address: { path: join(folder, 'launcher') },
      token: this.#token,
      version: montaVersion(),
      startSeconds: options.startSeconds ?? defaultStartSeconds,
      job: {
        workerModule: builtModule(options.workerModule).href,
        data: options.workerData,
        memoryBytes,
        maximumMemoryBytes,
        trace,
        stuckAfterSeconds,
        lostAfterSeconds: options.lostAfterSeconds ?? defaultLostSeconds,
      },
      ...(onMessage === undefined ? {} : { onMessage }),
      onEvent: (event) => this.#hear(event),
    });
  }

  /** The first outcome stands. */
  decide(outcome: Outcome): void {
    this.#resolve(outcome);
  }

  async run(): Promise<unknown[]> {
    const { ranks, ranksPerNode, gpus = cudaAvailable().devices } = this.#options;
    const places = gpuPlaces({ ranks, gpus, ...(ranksPerNode === undefined ? {} : { ranksPerNode }) });
    const address = await this.#hub.listen();
    const service = ranks > gpus ? startMps(this.#folder) : undefined;
    const processes = places.map((place, rank) =>
      this.#start(rank, {
        ...ncclEnvironment(place),
        ...service?.environment,
        [launcherVariable]: address,
        [tokenVariable]: this.#token,
        [placeVariable]: JSON.stringify({
          rank,
          size: ranks,
          gpu: place.gpu,
          folder: this.#folder,
          multiprocessors: this.#options.multiprocessors,
        } satisfies RankPlace),
      }),
    );
    const ended = Promise.all(processes.map(({ over }) => over));
    try {
      const outcome = await this.#decided;
      if (outcome.kind !== 'all returned') throw this.#failure(outcome);
      await Promise.race([ended, pause(finishMilliseconds)]);
      return this.#hub.results;
    } catch (error) {
      this.#hub.abort(
        error instanceof RankFailure ? `rank ${error.rank} ended the job: ${error.reason}` : 'the job was stopped',
      );
      await Promise.race([ended, pause(leaveMilliseconds)]);
      throw error;
    } finally {
      for (const { child } of processes) if (child.exitCode === null) child.kill('SIGKILL');
      await ended;
      this.#hub.close();
      service?.stop();
    }
  }

  #start(rank: number, environment: Readonly<Record<string, string>>): { child: ChildProcess; over: Promise<void> } {
    const child = spawn(process.execPath, [builtModule('./nccl-main.js', import.meta.url).pathname], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'inherit', 'inherit'],
      // Ctrl-C goes to the launcher alone, which ends the job in order.
      detached: true,
    });
    const over = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        this.decide({ kind: 'failed', failure: new RankFailure(rank, `its process did not start: ${error.message}`) });
        resolve();
      });
      child.once('exit', (code, signal) => {
        if (code !== 0) this.#suspect(new RankFailure(rank, describeEnd(code, signal)));
        resolve();
      });
    });
    return { child, over };
  }

  #hear(event: HubEvent): void {
    if (event.kind === 'all returned') {
      this.decide({ kind: 'all returned' });
      return;
    }
    const { rank, reason, certain, error } = event;
    const failure = new RankFailure(rank, reason, error === undefined ? undefined : { cause: restored(error) });
    if (certain) this.decide({ kind: 'failed', failure });
    else this.#suspect(failure);
  }

  /** A process has ended: its rank, or another, may soon say why. */
  #suspect(failure: RankFailure): void {
    if (this.#sign !== undefined) return;
    this.#sign = failure;
    setTimeout(() => this.decide({ kind: 'failed', failure }), explanationMilliseconds).unref();
  }

  #failure(outcome: Outcome): unknown {
    const { signal } = this.#options;
    if (outcome.kind === 'failed') return outcome.failure;
    return signal?.aborted === true ? signal.reason : new Error('the job was stopped');
  }
}

function describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `its process exited with code ${code}` : `its process was ended by ${signal}`;
}
