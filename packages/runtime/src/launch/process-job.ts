/** A job of processes that report to this one: waits for its outcome, and ends what still runs. */
import { join } from 'node:path';
import { builtModule } from './built-module.js';
import { RankFailure, restored } from './failure.js';
import {
  defaultLostSeconds,
  defaultStartSeconds,
  explanationMilliseconds,
  finishMilliseconds,
  leaveMilliseconds,
  pause,
} from './job-times.js';
import type { LaunchOptions } from './launch-local.js';
import { makeToken } from './mpi-frames.js';
import { Hub, type HubEvent } from './mpi-hub.js';
import { failureOf, type RankProcess } from './rank-process.js';
import { montaVersion } from './version.js';

export interface ProcessJobOptions extends Omit<LaunchOptions, 'fabric' | 'onFabricReport'> {
  /**
   * A rank that has not been heard from for so long ends the job. Longer than any interruption to live through.
   * Default: 15 s.
   */
  readonly lostAfterSeconds?: number;
  /** All ranks must have started by then. Default: 60 s. */
  readonly startSeconds?: number;
}

/** How the ranks of a job come to be. */
export interface ProcessPlace {
  /** Where the launcher listens for its ranks: a folder of the job's own, or an address that other hosts reach. */
  readonly meet: { readonly folder: string } | { readonly host: string };
  /** Starts what runs the ranks, which join the launcher at an address, with the job's token. */
  readonly start: (launcher: LauncherAddress, job: JobWatch) => JobProcesses;
}

export interface LauncherAddress {
  readonly address: string;
  readonly token: string;
}

/** What a place tells of its processes. The first that settles the job stands. */
export interface JobWatch {
  /** Ends the job at once; an error that names no rank gives way to a sign or an explanation that does. */
  readonly fail: (error: Error) => void;
  /** A sign of a failure, of which another rank may be the cause: ends the job unless that is soon known. */
  readonly suspect: (failure: RankFailure) => void;
  /** Whether the job has ended badly: what dying ranks write explains nothing that the error does not. */
  readonly isLost: () => boolean;
}

/** The processes of a job. */
export interface JobProcesses {
  /** Resolves once none of them runs. */
  readonly ended: Promise<unknown>;
  /** All ranks have returned: waits until they have left. What is wrong if they do not. */
  readonly left: () => Promise<Error | undefined>;
  /** What the place knows of who failed, where it explains more than a sign. */
  readonly explanation?: () => RankFailure | undefined;
  /** Ends what still runs. */
  readonly end: () => Promise<unknown>;
}

type Outcome = { readonly kind: 'all returned' | 'stopped' } | { readonly kind: 'failed'; readonly error: Error };

/**
 * Runs a job and returns what each rank's body returned, by rank. Rejects as `launchLocal` does. All processes have
 * ended either way, as far as they can be reached.
 */
export async function runProcessJob(options: ProcessJobOptions, place: ProcessPlace): Promise<unknown[]> {
  const { signal } = options;
  const job = new ProcessJob(options, place);
  const stop = (): void => job.stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await job.run();
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** A process for every rank. */
export function rankByRank(
  ranks: number,
  start: (rank: number, launcher: LauncherAddress) => RankProcess,
): ProcessPlace['start'] {
  return (launcher, job) => {
    const processes = Array.from({ length: ranks }, (_, rank) => start(rank, launcher));
    const ended = Promise.all(processes.map((one, rank) => watchRank(one, rank, job)));
    return {
      ended,
      left: () => Promise.race([ended, pause(finishMilliseconds)]).then(() => undefined),
      end: () => {
        for (const { kill } of processes) kill();
        return ended;
      },
    };
  };
}

async function watchRank({ ended }: RankProcess, rank: number, { fail, suspect }: JobWatch): Promise<void> {
  const end = await ended;
  const reason = failureOf(end);
  if (reason === undefined) return;
  (end.problem === undefined ? suspect : fail)(new RankFailure(rank, reason));
}

class ProcessJob {
  readonly #options: ProcessJobOptions;
  readonly #place: ProcessPlace;
  readonly #token = makeToken();
  readonly #hub: Hub;
  #processes: JobProcesses | undefined;
  #resolve: (outcome: Outcome) => void = () => undefined;
  readonly #decided = new Promise<Outcome>((resolve) => {
    this.#resolve = resolve;
  });
  #isLost = false;
  #sign: RankFailure | undefined;

  constructor(options: ProcessJobOptions, place: ProcessPlace) {
    this.#options = options;
    this.#place = place;
    const { ranks, memoryBytes, maximumMemoryBytes, trace = false, stuckAfterSeconds, onMessage } = options;
    this.#hub = new Hub({
      ranks,
      address: 'folder' in place.meet ? { path: join(place.meet.folder, 'launcher') } : place.meet,
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

  stop(): void {
    this.#decide({ kind: 'stopped' });
  }

  async run(): Promise<unknown[]> {
    const address = await this.#hub.listen();
    try {
      return await this.#runWith(this.#start(address));
    } finally {
      this.#hub.close();
    }
  }

  #start(address: string): JobProcesses {
    this.#processes = this.#place.start(
      { address, token: this.#token },
      {
        fail: (error) => this.#fail(error),
        suspect: (failure) => this.#suspect(failure),
        isLost: () => this.#isLost,
      },
    );
    return this.#processes;
  }

  async #runWith(processes: JobProcesses): Promise<unknown[]> {
    try {
      const outcome = await this.#decided;
      if (outcome.kind !== 'all returned') throw this.#failure(outcome);
      const complaint = await processes.left();
      if (complaint !== undefined) throw this.#best(complaint);
      return this.#hub.results;
    } catch (error) {
      this.#hub.abort(reasonFor(error));
      await Promise.race([processes.ended, pause(leaveMilliseconds)]);
      throw error;
    } finally {
      await processes.end();
    }
  }

  /** The first outcome stands. */
  #decide(outcome: Outcome): void {
    this.#isLost ||= outcome.kind !== 'all returned';
    this.#resolve(outcome);
  }

  #fail(error: Error): void {
    this.#decide({ kind: 'failed', error: this.#best(error) });
  }

  /** An error that names no rank gives way to whatever does. */
  #best(error: Error): Error {
    if (error instanceof RankFailure) return error;
    return this.#processes?.explanation?.() ?? this.#sign ?? error;
  }

  #hear(event: HubEvent): void {
    if (event.kind === 'all returned') {
      this.#decide({ kind: 'all returned' });
      return;
    }
    const { rank, reason, certain, error } = event;
    const failure = new RankFailure(rank, reason, error === undefined ? undefined : { cause: restored(error) });
    if (certain) this.#fail(failure);
    else this.#suspect(failure);
  }

  /** A process has ended, or the network reports an error: its rank, or another, may soon say why. */
  #suspect(failure: RankFailure): void {
    if (this.#sign !== undefined) return;
    this.#sign = failure;
    const explain = (): void => this.#fail(this.#processes?.explanation?.() ?? failure);
    setTimeout(explain, explanationMilliseconds).unref();
  }

  #failure(outcome: Outcome): unknown {
    const { signal } = this.#options;
    if (outcome.kind === 'failed') return outcome.error;
    return signal?.aborted === true ? signal.reason : new Error('the job was stopped');
  }
}

/** What ranks that still run are told. */
function reasonFor(error: unknown): string {
  if (error instanceof RankFailure) return `rank ${error.rank} ended the job: ${error.reason}`;
  return `the job was stopped: ${error instanceof Error ? error.message : String(error)}`;
}
