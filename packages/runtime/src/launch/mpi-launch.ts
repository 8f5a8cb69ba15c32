/** Starts a job through mpirun, on this machine or on several hosts; watches its ranks, and cleans up. */
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { InputError } from '@monta/core/units';
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
import { launcherVariable, makeToken, tokenVariable } from './mpi-frames.js';
import { Hub, type HubEvent } from './mpi-hub.js';
import { MpirunNotes } from './mpi-notes.js';
import { hasRemoteHosts, mpirunArguments, type MpiHost } from './mpi-options.js';
import { makePlace, privateNetwork } from './private-place.js';
import { montaVersion } from './version.js';

export interface MpiLaunchOptions extends Omit<LaunchOptions, 'fabric' | 'onFabricReport'> {
  /** Hosts and their ranks, in rank order; absent: all on this machine. */
  readonly hosts?: readonly MpiHost[];
  /**
   * Address that the launcher listens on for its ranks. Default: no port, a socket in a folder; with other hosts it
   * must be one that they reach.
   */
  readonly bind?: string;
  /** Program that starts a command on another host instead of ssh; an absolute path. */
  readonly agent?: string;
  /** The network that carries the ranks' bytes, as `10.0.0.0/24`. Default: that of `bind`. */
  readonly network?: string;
  /** Further options of mpirun; they win over Monta's. */
  readonly mpirunOptions?: readonly string[];
  /**
   * A rank that has not been heard from for so long ends the job. Longer than any interruption to live through.
   * Default: 15 s.
   */
  readonly lostAfterSeconds?: number;
  /** All ranks must have started by then. Default: 60 s. */
  readonly startSeconds?: number;
  /** Lines that ranks write on standard error; default: this process's. */
  readonly onErrorLine?: (line: string) => void;
}

const openPort =
  'note: the control port of mpirun is open on all interfaces while the job runs: this system lets nobody make a ' +
  'network namespace (unshare --net)';
/** How long mpirun has to end ranks that have not left, before it is killed. */
const killMilliseconds = 5000;
/** How long to wait for mpirun's last words once it has ended. */
const drainMilliseconds = 500;

/**
 * Runs a job of `ranks` processes under mpirun and returns what each rank's body returned, by rank. Rejects as
 * `launchLocal` does: with `RankFailure`, which names the rank that caused it, or with the signal's reason. mpirun has
 * ended either way; ranks on a host that cannot be reached end themselves after `lostAfterSeconds`. Throws `InputError`
 * when Open MPI is not installed.
 */
export async function launchMpi(options: MpiLaunchOptions): Promise<unknown[]> {
  const { ranks, signal } = options;
  if (!Number.isInteger(ranks) || ranks < 1)
    throw new RangeError(`ranks must be a whole number of at least 1, not ${ranks}`);
  signal?.throwIfAborted();
  const job = new MpirunJob(options);
  const stop = (): void => job.stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await job.run();
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

type Outcome =
  | { readonly kind: 'all returned' | 'stopped' }
  | { readonly kind: 'ended'; readonly how: string; readonly well: boolean }
  | { readonly kind: 'failed'; readonly failure: RankFailure };

class MpirunJob {
  private readonly hub: Hub;
  private readonly pass: (line: string) => void;
  /** Of a job on this machine alone. */
  private readonly folder: string | undefined;
  private readonly token = makeToken();
  private readonly notes: MpirunNotes;
  private resolveOutcome: (outcome: Outcome) => void = () => undefined;
  private readonly decided = new Promise<Outcome>((resolve) => {
    this.resolveOutcome = resolve;
  });
  private isDecided = false;
  private sign: Extract<HubEvent, { kind: 'failed' }> | undefined;

  constructor(private readonly options: MpiLaunchOptions) {
    const { ranks, memoryBytes, maximumMemoryBytes, trace, stuckAfterSeconds } = options;
    const bind = bindAddress(options);
    const pass = options.onErrorLine ?? ((line: string) => process.stderr.write(`${line}\n`));
    this.pass = pass;
    this.folder = hasRemoteHosts(options.hosts) ? undefined : makePlace();
    this.notes = new MpirunNotes((line) => {
      // What dying ranks write explains nothing that the error does not.
      if (!this.isDecided) pass(line);
    });
    this.hub = new Hub({
      ranks,
      address: bind === undefined ? { path: join(this.folder ?? '', 'launcher') } : { host: bind },
      token: this.token,
      version: montaVersion(),
      startSeconds: options.startSeconds ?? defaultStartSeconds,
      job: {
        workerModule: builtModule(options.workerModule).href,
        data: options.workerData,
        memoryBytes,
        maximumMemoryBytes,
        trace: trace ?? false,
        stuckAfterSeconds,
        lostAfterSeconds: this.lostAfterSeconds,
      },
      ...(options.onMessage === undefined ? {} : { onMessage: options.onMessage }),
      onEvent: (event) => this.hear(event),
    });
  }

  private get lostAfterSeconds(): number {
    return this.options.lostAfterSeconds ?? defaultLostSeconds;
  }

  /** The first outcome stands. */
  private decide(outcome: Outcome): void {
    this.isDecided ||= outcome.kind !== 'all returned';
    this.resolveOutcome(outcome);
  }

  stop(): void {
    this.decide({ kind: 'stopped' });
  }

  async run(): Promise<unknown[]> {
    try {
      return await this.launch();
    } finally {
      if (this.folder !== undefined) rmSync(this.folder, { recursive: true, force: true });
    }
  }

  private async launch(): Promise<unknown[]> {
    const mpirun = this.start(await this.hub.listen());
    const ended = new Promise<void>((resolve) => {
      mpirun.once('error', (error) => {
        this.decide({ kind: 'ended', how: describeStart(error), well: false });
        resolve();
      });
      mpirun.once('exit', (code, signal) => {
        void this.drained(mpirun).then(() => over(code, signal));
      });
      const over = (code: number | null, signal: NodeJS.Signals | null): void => {
        const how = signal === null ? `mpirun exited with code ${code}` : `mpirun was ended by ${signal}`;
        this.decide(this.verdict() ?? { kind: 'ended', how, well: code === 0 });
        resolve();
      };
    });
    try {
      let outcome = await this.decided;
      if (outcome.kind === 'all returned') {
        outcome = await this.finish(ended, mpirun);
        if (outcome.kind === 'ended' && outcome.well) return this.hub.results;
      }
      throw this.failure(outcome);
    } catch (error) {
      this.hub.abort(reasonFor(error));
      throw error;
    } finally {
      await end(mpirun, ended);
      this.hub.close();
    }
  }

  /** Waits for the last of mpirun's words; what it started on hosts that cannot be reached may hold the pipe open. */
  private async drained(mpirun: ChildProcess): Promise<void> {
    const { stderr } = mpirun;
    if (stderr === null || stderr.closed) return;
    const closed = new Promise<void>((resolve) => {
      stderr.once('close', resolve);
    });
    await Promise.race([closed, pause(drainMilliseconds)]);
    stderr.destroy();
  }

  /** All ranks have returned; what is left is to leave MPI. */
  private async finish(ended: Promise<void>, mpirun: ChildProcess): Promise<Outcome> {
    const late = await Promise.race([ended.then(() => false), pause(finishMilliseconds).then(() => true)]);
    if (late) return { kind: 'ended', how: 'all ranks returned, but did not leave MPI', well: false };
    const well = mpirun.exitCode === 0;
    return this.verdict() ?? { kind: 'ended', how: `mpirun exited with code ${mpirun.exitCode}`, well };
  }

  private failure(outcome: Outcome): unknown {
    const { signal } = this.options;
    if (outcome.kind === 'stopped' && signal?.aborted === true) return signal.reason;
    if (outcome.kind === 'failed') return outcome.failure;
    const how = outcome.kind === 'ended' ? outcome.how : 'the job was stopped';
    const said = this.notes.tail();
    return new Error(`the job over MPI failed: ${how}${said === '' ? '' : `; mpirun and ranks wrote:\n${said}`}`);
  }

  private start(address: string): ChildProcess {
    const { ranks, hosts, agent, bind, mpirunOptions } = this.options;
    const remote = hasRemoteHosts(hosts);
    const network = this.options.network ?? (remote && bind !== undefined ? networkOf(bind) : undefined);
    const settings = mpirunArguments({
      ranks,
      lostAfterSeconds: this.lostAfterSeconds,
      environment: [launcherVariable, tokenVariable],
      command: [process.execPath, builtModule('./mpi-main.js', import.meta.url).pathname],
      ...(hosts === undefined ? {} : { hosts }),
      ...(agent === undefined ? {} : { agent }),
      ...(network === undefined ? {} : { network }),
      ...(this.folder === undefined ? {} : { folder: this.folder }),
      ...(mpirunOptions === undefined ? {} : { mpirunOptions }),
    });
    const alone = remote || bind !== undefined ? [] : privateNetwork();
    if (alone === undefined) this.pass(openPort);
    const [program, ...words] = [...(alone ?? []), 'mpirun', ...settings];
    const child = spawn(program, words, {
      env: { ...process.env, [launcherVariable]: address, [tokenVariable]: this.token },
      stdio: ['ignore', 'inherit', 'pipe'],
      // Ctrl-C goes to this process alone, which ends the job in order.
      detached: true,
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.notes.push(text));
    return child;
  }

  private hear(event: HubEvent): void {
    if (event.kind === 'all returned') {
      this.decide({ kind: 'all returned' });
      return;
    }
    if (event.certain) {
      this.decide(failed(event));
      return;
    }
    // A process ended, or MPI reported an error: mpirun, or the rank itself, may soon say more.
    if (this.sign !== undefined) return;
    this.sign = event;
    setTimeout(() => this.decide(this.verdict() ?? failed(event)), explanationMilliseconds).unref();
  }

  private verdict(): Outcome | undefined {
    const verdict = this.notes.verdict();
    if (verdict !== undefined) return { kind: 'failed', failure: new RankFailure(verdict.rank, verdict.reason) };
    return this.sign === undefined ? undefined : failed(this.sign);
  }
}

function failed({ rank, reason, error }: Extract<HubEvent, { kind: 'failed' }>): Outcome {
  const options = error === undefined ? undefined : { cause: restored(error) };
  return { kind: 'failed', failure: new RankFailure(rank, reason, options) };
}

/** What ranks that still run are told. */
function reasonFor(error: unknown): string {
  if (error instanceof RankFailure) return `rank ${error.rank} ended the job: ${error.reason}`;
  return `the job was stopped: ${error instanceof Error ? error.message : String(error)}`;
}

/** Lets ranks leave, then has mpirun end them, then kills it. */
async function end(mpirun: ChildProcess, ended: Promise<void>): Promise<void> {
  for (const [milliseconds, signal] of [
    [leaveMilliseconds, 'SIGTERM'],
    [killMilliseconds, 'SIGKILL'],
  ] as const) {
    const over = await Promise.race([ended.then(() => true), pause(milliseconds).then(() => false)]);
    if (over) return;
    mpirun.kill(signal);
  }
  await ended;
}

/** Where the hub listens: a socket in the folder of a job on this machine, else host:port. */
function bindAddress({ bind, hosts }: MpiLaunchOptions): string | undefined {
  if (bind !== undefined && isIP(bind) === 0) {
    throw new InputError(`the launcher cannot listen on '${bind}'`, { expected: 'an IP address of this machine' });
  }
  if (hasRemoteHosts(hosts) && bind === undefined) {
    throw new InputError(
      `ranks on hosts ${hosts?.map(({ name }) => name).join(', ')} must reach the launcher, which listens on the ` +
        'loopback address only unless told otherwise: give the address of this machine that they can reach (bind)',
    );
  }
  return bind;
}

/** The network that an address of this machine belongs to, as `10.0.0.1/24`. */
function networkOf(address: string): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find((one) => one.address === address)?.cidr ?? undefined;
}

function describeStart(error: Error): string {
  const missing = 'code' in error && error.code === 'ENOENT';
  return missing
    ? 'there is no mpirun: install Open MPI (Debian: openmpi-bin libopenmpi3)'
    : `mpirun did not start: ${error.message}`;
}
