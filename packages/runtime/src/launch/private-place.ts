/**
 * What a job over MPI on this machine alone has to itself: a folder for its files, and a network that nobody else is
 * in. Open MPI's mpirun listens on all interfaces whatever its options say (`create_listen` of its oob/tcp binds
 * INADDR_ANY); in a network namespace of its own nobody can reach it.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const prefix = 'monta-mpi-';
/** Of a run that somebody else's launcher started: its name says the run, a file in it the process. */
export const runPrefix = 'monta-run-';
/** Open MPI's shared memory belongs where files are memory. */
const sharedMemory = '/dev/shm';

function writable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

const ownerFile = 'pid';

/** Writes into a run's folder which process it belongs to. */
export function ownRunFolder(folder: string): void {
  writeFileSync(join(folder, ownerFile), String(process.pid));
}

function ownerOf(base: string, name: string): string | undefined {
  if (!name.startsWith(runPrefix)) return undefined;
  try {
    return readFileSync(join(base, name, ownerFile), 'utf8');
  } catch {
    // Another person's, or one that is just being made.
    return undefined;
  }
}

/** Where folders of jobs lie. */
export const sharedFolder = (): string => (writable(sharedMemory) ? sharedMemory : tmpdir());

/** Removes folders of launchers that are gone: after a kill nobody else does. Returns their names. */
export function removeDeadPlaces(base: string): string[] {
  const dead = readdirSync(base).filter((name) => {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1] ?? ownerOf(base, name);
    return pid !== undefined && !alive(Number(pid));
  });
  // Another person's folder cannot be removed, nor need it be.
  return dead.filter((name) => {
    try {
      rmSync(join(base, name), { recursive: true, force: true });
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Makes a folder for one job, which only this user can enter, and removes those of dead launchers. Remove it at the
 * end.
 */
export function makePlace(base = sharedFolder()): string {
  removeDeadPlaces(base);
  return mkdtempSync(join(base, `${prefix}${process.pid}-`));
}

const withLoopback = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
/** As root, and as anybody where the system lets people make namespaces. */
const ways = [
  ['unshare', '--net', ...withLoopback],
  ['unshare', '--map-current-user', '--keep-caps', '--net', ...withLoopback],
];
let found: readonly string[] | undefined;
let sought = false;

/**
 * What stands before a command to run it in a network of its own, with a loopback; undefined where the system does not
 * allow that.
 */
export function privateNetwork(): readonly string[] | undefined {
  if (!sought) {
    sought = true;
    found = ways.find(([program = '', ...words]) => spawnSync(program, [...words, 'true']).status === 0);
  }
  return found;
}
