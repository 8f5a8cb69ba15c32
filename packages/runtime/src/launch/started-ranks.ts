/**
 * Runs whose processes a launcher of somebody else's started: torchrun, mpirun, srun. Rank 0's process leads; each
 * process, that of rank 0 too, starts its rank's own process for every job, ends it, and says how it ended.
 */
import { rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { InputError } from '@monta/core/units';
import { at } from '../comm/at.js';
import { cardIds } from '../device/cuda/bindings/index.js';
import { RankFailure } from './failure.js';
import { ncclEnvironment, startedPlaces, type HostedRank } from './gpu-places.js';
import { defaultLostSeconds, defaultStartSeconds, finishMilliseconds } from './job-times.js';
import { overOwnNetwork, type Launcher, type NcclPlace } from './launcher.js';
import { launcherVariable, tokenVariable, type WatchedJob } from './mpi-frames.js';
import { Hub, type HubEvent } from './mpi-hub.js';
import { Link } from './mpi-link.js';
import { startMps } from './mps.js';
import { ncclMain } from './nccl-launch.js';
import { placeVariable, type CardLanes, type RankPlace } from './nccl-place.js';
import { makePlace } from './private-place.js';
import { rankByRank, runProcessJob, type ProcessJobOptions } from './process-job.js';
import { spawnRank, type ProcessEnd, type RankProcess } from './rank-process.js';
import { findRendezvous, makeRendezvous, type Rendezvous } from './rendezvous.js';
import type { Environment, StartedPlace } from './started-place.js';
import { montaVersion } from './version.js';

export interface StartedOptions extends Omit<NcclPlace, 'gpus'> {
  readonly place: StartedPlace;
  readonly environment?: Environment;
  /** All processes must have come by then. Default: 60 s. */
  readonly startSeconds?: number;
  /** Where the folder of a run on one host is made. */
  readonly base?: string;
  /** What ranks' processes run, and the cards that this process sees. */
  readonly main?: URL;
  readonly cards?: () => readonly string[];
}

/** What rank 0 has a process do. */
type Order =
  | { readonly kind: 'start'; readonly number: number; readonly environment: Readonly<Record<string, string>> }
  | { readonly kind: 'kill'; readonly number: number }
  | { readonly kind: 'over'; readonly well: boolean };

/** What a process tells rank 0. */
type Note =
  | { readonly kind: 'here'; readonly ranks: HostedRank }
  | { readonly kind: 'ended'; readonly number: number; readonly end: ProcessEnd };

/**
 * Runs `lead` in the process of rank 0, with a launcher whose jobs run on all processes; every process calls it.
 * Resolves on rank 0 with what `lead` returned, on the others with undefined once rank 0 is done. Rejects with
 * `InputError` where processes do not find each other, with `RankFailure` where one is lost, and on the others where
 * `lead` failed.
 */
export async function leadStarted<T>(
  options: StartedOptions,
  lead: (launcher: Launcher) => Promise<T>,
): Promise<T | undefined> {
  const { place, environment = process.env, base } = options;
  const where = { place, environment, ...(base === undefined ? {} : { base }) };
  if (place.rank > 0) {
    const rendezvous = await findRendezvous(where, options.startSeconds ?? defaultStartSeconds);
    if (!(await serve(options, rendezvous))) throw new RankFailure(0, 'its command failed, and says why');
    return undefined;
  }
  const rendezvous = await makeRendezvous(where);
  const leader = new Leader(options, rendezvous);
  let well = false;
  try {
    await leader.gather();
    const result = await lead(leader.launcher());
    well = true;
    return result;
  } finally {
    await leader.end(well);
    if (rendezvous.folder !== undefined) rmSync(rendezvous.folder, { recursive: true, force: true });
  }
}

const seenCards = ({ cards = cardIds }: StartedOptions): HostedRank => ({ host: hostname(), cards: cards() });

/** Does what rank 0 says until it is done; whether it was well. */
async function serve(options: StartedOptions, { address, token }: Rendezvous): Promise<boolean> {
  const { place, main = ncclMain() } = options;
  const { rank, size } = place;
  const hello = { kind: 'hello', rank, size, host: hostname(), pid: process.pid, version: montaVersion() } as const;
  const link = new Link<WatchedJob>({ address, token, hello, endsProcess: false });
  const say = (message: Note): void => link.post({ kind: 'message', message });
  const running = new Map<number, RankProcess>();
  try {
    await link.job();
    say({ kind: 'here', ranks: seenCards(options) });
    for (;;) {
      const order = (await link.told()) as Order;
      if (order.kind === 'over') {
        link.post({ kind: 'result', result: undefined });
        await link.sent('result');
        link.leave();
        return order.well;
      }
      const { number } = order;
      if (order.kind === 'kill') running.get(number)?.kill();
      else {
        const one = spawnRank(main, order.environment);
        running.set(number, one);
        void one.ended.then((end) => {
          running.delete(number);
          say({ kind: 'ended', number, end });
        });
      }
    }
  } finally {
    for (const { kill } of running.values()) kill();
  }
}

class Leader {
  readonly #options: StartedOptions;
  readonly #rendezvous: Rendezvous;
  readonly #hub: Hub<WatchedJob>;
  readonly #here = new Map<number, HostedRank>();
  /** By rank: tells the job that runs how the rank's process ended. */
  readonly #ended = new Map<number, (end: ProcessEnd) => void>();
  #number = 0;
  #failure: RankFailure | undefined;
  #wake: () => void = () => undefined;
  #over = false;

  constructor(options: StartedOptions, rendezvous: Rendezvous) {
    this.#options = options;
    this.#rendezvous = rendezvous;
    const { place, startSeconds = defaultStartSeconds, lostAfterSeconds = defaultLostSeconds } = options;
    const { address, token } = rendezvous;
    const cut = address.lastIndexOf(':');
    this.#hub = new Hub<WatchedJob>({
      ranks: place.size,
      absent: [0],
      address: address.startsWith('/')
        ? { path: address }
        : { host: address.slice(0, cut), port: Number(address.slice(cut + 1)) },
      token,
      version: montaVersion(),
      startSeconds,
      job: { lostAfterSeconds },
      onMessage: (rank, message) => this.#hear(rank, message as Note),
      onEvent: (event) => this.#event(event),
    });
    this.#here.set(0, seenCards(options));
  }

  /** Waits for all processes. Rejects with `RankFailure` that names those that do not come. */
  async gather(): Promise<void> {
    const { size } = this.#options.place;
    try {
      await this.#hub.listen();
    } catch (error) {
      throw new InputError(`rank 0 cannot listen at ${this.#rendezvous.address}`, {
        file: 'environment',
        expected: 'an address of this host and a port that is free: MONTA_ADDRESS=host:port',
        hint: error instanceof Error ? error.message : String(error),
      });
    }
    while (this.#here.size < size && this.#failure === undefined)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    if (this.#failure !== undefined) throw this.#failure;
  }

  launcher(lanes: CardLanes | undefined = this.#options.lanes): Launcher {
    const hosts = [...new Set([...this.#here.values()].map(({ host }) => host))];
    const places = this.#places();
    return {
      backend: 'nccl',
      device: 'cuda',
      place: `${hosts.length > 1 ? 'hosts ' : ''}${hosts.join(', ')} over NCCL`,
      ranksPerCard: places.reduce((most, { sharers }) => Math.max(most, sharers), 1),
      launch: overOwnNetwork('NCCL', (options) => this.#launch(options, lanes)),
      withLanes: (other) => this.launcher(other),
    };
  }

  /** Tells all that the run is over, and waits for them. */
  async end(well: boolean): Promise<void> {
    const { size } = this.#options.place;
    const end = performance.now() + finishMilliseconds;
    for (let rank = 1; rank < size; rank++) this.#hub.tell(rank, { kind: 'over', well } satisfies Order);
    while (!this.#over && this.#failure === undefined && performance.now() < end) await delay(20);
    this.#hub.close();
  }

  #places() {
    const { place, ranksPerNode } = this.#options;
    const ranks = Array.from({ length: place.size }, (_, rank) => this.#here.get(rank) ?? { host: '', cards: [] });
    const { localSize } = place;
    return startedPlaces(ranks, { localSize, ...(ranksPerNode === undefined ? {} : { ranksPerNode }) });
  }

  async #launch(options: ProcessJobOptions, lanes: CardLanes | undefined): Promise<unknown[]> {
    const { place, lostAfterSeconds } = this.#options;
    const { size, launcher, starts } = place;
    if (options.ranks !== size)
      throw new InputError(`the job has ${options.ranks} ranks, but ${launcher} started ${size} processes`, {
        expected: starts(options.ranks),
      });
    if (this.#failure !== undefined) throw this.#failure;
    this.#number += 1;
    const places = this.#places();
    const { address } = this.#rendezvous;
    const folder = address.startsWith('/') ? makePlace() : undefined;
    const shared = places.some(({ sharers }) => sharers > 1);
    const service = folder !== undefined && shared ? startMps(folder) : undefined;
    try {
      return await runProcessJob(
        { ...options, ...(lostAfterSeconds === undefined ? {} : { lostAfterSeconds }) },
        {
          meet: folder === undefined ? { host: address.slice(0, address.lastIndexOf(':')) } : { folder },
          start: rankByRank(size, (rank, { address: hub, token }) => {
            const own = at(places, rank);
            const told: RankPlace = {
              rank,
              size,
              gpu: own.gpu,
              lanes,
              ...(folder === undefined ? {} : { folder }),
            };
            return this.#start(rank, {
              ...ncclEnvironment(own),
              ...service?.environment,
              [launcherVariable]: hub,
              [tokenVariable]: token,
              [placeVariable]: JSON.stringify(told),
            });
          }),
        },
      );
    } finally {
      service?.stop();
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    }
  }

  #start(rank: number, environment: Readonly<Record<string, string>>): RankProcess {
    if (rank === 0) return spawnRank(this.#options.main ?? ncclMain(), environment);
    const number = this.#number;
    const ended = new Promise<ProcessEnd>((resolve) => {
      this.#ended.set(rank, resolve);
    });
    this.#hub.tell(rank, { kind: 'start', number, environment } satisfies Order);
    return { ended, kill: () => this.#hub.tell(rank, { kind: 'kill', number } satisfies Order) };
  }

  #hear(rank: number, note: Note): void {
    if (note.kind === 'here') this.#here.set(rank, note.ranks);
    else if (note.number === this.#number) this.#ended.get(rank)?.(note.end);
    this.#wake();
  }

  /** A process that is gone takes its rank's with it: the job, and the run, are over. */
  #event(event: HubEvent): void {
    if (event.kind === 'all returned') this.#over = true;
    else {
      const { rank, reason } = event;
      this.#failure ??= new RankFailure(rank, reason);
      this.#ended.get(rank)?.({ code: null, signal: null, problem: reason });
    }
    this.#wake();
  }
}
