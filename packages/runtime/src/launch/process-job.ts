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
  /** A rank that has not been heard from for so long ends the job. Default: 15 s. */
  readonly lostAfterSeconds?: number;
  /** All ranks must have started by then. Default: 60 s. */
  readonly startSeconds?: number;
}

/** How the ranks of a job come to be. */
export interface ProcessPlace {
  /** Where the launcher listens for its ranks: a folder of the job's own, or an address that other hosts reach. */
  readonly meet: { readonly folder: string } | { readonly host: string };
  /** Starts a rank that joins the launcher at an address, with the job's token. */
  readonly start: (rank: number, launcher: { readonly address: string; readonly token: string }) => RankProcess;
}

type Outcome =
  { readonly kind: 'all returned' | 'stopped' } | { readonly kind: 'failed'; readonly failure: RankFailure };

/**
 * Runs a job and returns what each rank's body returned, by rank. Rejects as `launchLocal` does. All processes have
 * ended either way, as far as they can be reached.
 */
export async function runProcessJob(options: ProcessJobOptions, place: ProcessPlace): Promise<unknown[]> {
  const { signal } = options;
  const job = new ProcessJob(options, place);
  const stop = (): void => job.decide({ kind: 'stopped' });
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await job.run();
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

class ProcessJob {
  readonly #options: ProcessJobOptions;
  readonly #place: ProcessPlace;
  readonly #token = makeToken();
  readonly #hub: Hub;
  #resolve: (outcome: Outcome) => void = () => undefined;
  readonly #decided = new Promise<Outcome>((resolve) => {
    this.#resolve = resolve;
  });
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

  /** The first outcome stands. */
  decide(outcome: Outcome): void {
    this.#resolve(outcome);
  }

  async run(): Promise<unknown[]> {
    const launcher = { address: await this.#hub.listen(), token: this.#token };
    const processes = Array.from({ length: this.#options.ranks }, (_, rank) => this.#place.start(rank, launcher));
    const ended = Promise.all(processes.map((one, rank) => this.#watch(one, rank)));
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
      for (const { kill } of processes) kill();
      await ended;
      this.#hub.close();
    }
  }

  async #watch({ ended }: RankProcess, rank: number): Promise<void> {
    const end = await ended;
    const reason = failureOf(end);
    if (reason === undefined) return;
    const failure = new RankFailure(rank, reason);
    if (end.problem === undefined) this.#suspect(failure);
    else this.decide({ kind: 'failed', failure });
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
