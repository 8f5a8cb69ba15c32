/** Starts a job through mpirun, on this machine or on several hosts; watches its ranks, and cleans up. */
import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { InputError } from '@monta/core/units';
import { builtModule } from './built-module.js';
import { RankFailure } from './failure.js';
import { defaultLostSeconds, finishMilliseconds, pause } from './job-times.js';
import { launcherVariable, tokenVariable } from './mpi-frames.js';
import { MpirunNotes } from './mpi-notes.js';
import { hasRemoteHosts, mpirunArguments, type MpiHost } from './mpi-options.js';
import { makePlace, privateNetwork } from './private-place.js';
import { runProcessJob, type LauncherAddress, type ProcessJobOptions, type ProcessPlace } from './process-job.js';

export interface MpiLaunchOptions extends ProcessJobOptions {
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
  const { ranks, signal, hosts } = options;
  if (!Number.isInteger(ranks) || ranks < 1)
    throw new RangeError(`ranks must be a whole number of at least 1, not ${ranks}`);
  signal?.throwIfAborted();
  const bind = bindAddress(options);
  // Of a job on this machine alone.
  const folder = hasRemoteHosts(hosts) ? undefined : makePlace();
  const meet = bind === undefined ? { folder: folder ?? '' } : { host: bind };
  try {
    return await runProcessJob(options, { meet, start: ranksOfMpirun({ ...options, folder }) });
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

type Started = MpiLaunchOptions & { readonly folder: string | undefined };

/** mpirun, which starts the ranks and says which of them it saw end. */
function ranksOfMpirun(options: Started): ProcessPlace['start'] {
  const pass = options.onErrorLine ?? ((line: string) => process.stderr.write(`${line}\n`));
  return (launcher, job) => {
    const notes = new MpirunNotes((line) => {
      if (!job.isLost()) pass(line);
    });
    const failed = (how: string): Error => {
      const said = notes.tail();
      return new Error(`the job over MPI failed: ${how}${said === '' ? '' : `; mpirun and ranks wrote:\n${said}`}`);
    };
    const mpirun = startMpirun(options, launcher, pass);
    mpirun.stderr?.setEncoding('utf8').on('data', (text: string) => notes.push(text));
    const ended = mpirunEnd(mpirun);
    void ended.then((how) => job.fail(failed(how)));
    const explanation = (): RankFailure | undefined => {
      const verdict = notes.verdict();
      return verdict === undefined ? undefined : new RankFailure(verdict.rank, verdict.reason);
    };
    return {
      ended,
      left: async () => {
        const late = pause(finishMilliseconds).then(() => 'all ranks returned, but did not leave MPI');
        const how = await Promise.race([ended, late]);
        return explanation() ?? (mpirun.exitCode === 0 ? undefined : failed(how));
      },
      explanation,
      end: () => endMpirun(mpirun, ended),
    };
  };
}

function startMpirun(options: Started, launcher: LauncherAddress, pass: (line: string) => void): ChildProcess {
  const { ranks, hosts, agent, bind, mpirunOptions, folder } = options;
  const remote = hasRemoteHosts(hosts);
  const network = options.network ?? (remote && bind !== undefined ? networkOf(bind) : undefined);
  const settings = mpirunArguments({
    ranks,
    lostAfterSeconds: options.lostAfterSeconds ?? defaultLostSeconds,
    environment: [launcherVariable, tokenVariable],
    command: [process.execPath, builtModule('./mpi-main.js', import.meta.url).pathname],
    ...(hosts === undefined ? {} : { hosts }),
    ...(agent === undefined ? {} : { agent }),
    ...(network === undefined ? {} : { network }),
    ...(folder === undefined ? {} : { folder }),
    ...(mpirunOptions === undefined ? {} : { mpirunOptions }),
  });
  const alone = remote || bind !== undefined ? [] : privateNetwork();
  if (alone === undefined) pass(openPort);
  const [program, ...words] = [...(alone ?? []), 'mpirun', ...settings];
  return spawn(program, words, {
    env: { ...process.env, [launcherVariable]: launcher.address, [tokenVariable]: launcher.token },
    stdio: ['ignore', 'inherit', 'pipe'],
    // Ctrl-C goes to this process alone, which ends the job in order.
    detached: true,
  });
}

/** Resolves with how mpirun ended, once its last words are there. */
function mpirunEnd(mpirun: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    mpirun.once('error', (error) => resolve(describeStart(error)));
    mpirun.once('exit', (code, signal) => {
      const how = signal === null ? `mpirun exited with code ${code}` : `mpirun was ended by ${signal}`;
      void drained(mpirun).then(() => resolve(how));
    });
  });
}

/** Waits for the last of mpirun's words; what it started on hosts that cannot be reached may hold the pipe open. */
async function drained({ stderr }: ChildProcess): Promise<void> {
  if (stderr === null || stderr.closed) return;
  const closed = new Promise<void>((resolve) => {
    stderr.once('close', resolve);
  });
  await Promise.race([closed, pause(drainMilliseconds)]);
  stderr.destroy();
}

/** Has mpirun end its ranks, then kills it. */
async function endMpirun(mpirun: ChildProcess, ended: Promise<string>): Promise<void> {
  mpirun.kill('SIGTERM');
  const over = await Promise.race([ended.then(() => true), pause(killMilliseconds).then(() => false)]);
  if (!over) mpirun.kill('SIGKILL');
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
