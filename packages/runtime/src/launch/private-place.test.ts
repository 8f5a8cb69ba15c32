/** A job over MPI on this machine: what others can reach of it, and what it leaves. */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtTesting } from '../../testing/built.js';
import { testsOverMpi } from '../../testing/hosts.js';
import type { FailureJob } from '../../testing/failures/sums.worker.js';
import { launchMpi } from './mpi-launch.js';
import { launcherVariable } from './mpi-frames.js';
import { makePlace, privateNetwork, removeDeadPlaces } from './private-place.js';

let base = '';
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'monta-places-'));
});
afterAll(() => rmSync(base, { recursive: true }));

/** Ports that listen inside the network of a process, as only its user and root can see them. */
function portsInside(pid: number): number[] {
  const { stdout } = spawnSync('nsenter', ['--net', '-t', String(pid), 'ss', '-ltnH'], { encoding: 'utf8' });
  return [...stdout.matchAll(/:(\d+)\s+\S+:\*/gu)].map(([, port]) => Number(port));
}

/** Of connections to a port from outside, at all addresses of this machine. */
async function outcomes(port: number): Promise<string[]> {
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  return Promise.all(
    own.map(
      (host) =>
        new Promise<string>((resolve) => {
          const socket = createConnection({ host, port }, () => resolve('connected'));
          socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'failed'));
          socket.unref();
        }),
    ),
  );
}

/** A variable in the environment of a process. */
function variable(pid: number, name: string): string {
  const all = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  return all.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
}

const parentOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[1]);

/** All processes of a rank's job: tests beside this one have processes of their own. */
function jobOf(rank: number): number[] {
  let top = rank;
  for (let parent = parentOf(top); parent !== process.pid; parent = parentOf(top)) top = parent;
  return [top, ...descendants(top)];
}

/** A process's children, their children, and so on. */
function descendants(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  const children = stdout.split('\n').map(Number).filter(Boolean);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

// Where the system lets nobody make a network, mpirun's control port stays open, and the launcher says so.
describe.runIf(testsOverMpi && privateNetwork() !== undefined)('a job over MPI on this machine', () => {
  it('listens on nothing that others reach, and leaves no files', async () => {
    let folder = '';
    let listening = '';
    let networks: string[] = [];
    let ready = 0;
    let inside: number[] = [];
    let entered: number | null = null;
    let reached: Promise<string[][]> = Promise.resolve([]);
    const untilFile = join(base, 'looked');
    const workerData: FailureJob = { untilFile };
    const sums = await launchMpi({
      ranks: 2,
      memoryBytes: 1 << 20,
      workerModule: builtTesting('failures/sums.worker'),
      workerData,
      onMessage: (_rank, message) => {
        if (++ready < 2) return;
        const { pid } = message as { readonly pid: number };
        const own = jobOf(pid);
        const { stdout } = spawnSync('ss', ['-ltnpH'], { encoding: 'utf8' });
        listening = stdout
          .split('\n')
          .filter((line) => own.some((pid) => line.includes(`pid=${pid},`)))
          .filter((line) => !/\s(?:127\.\d+\.\d+\.\d+|\[::1\]):\d+\s/.test(line))
          .join('\n');
        folder = dirname(variable(pid, launcherVariable));
        inside = portsInside(pid);
        reached = Promise.all(inside.map(outcomes));
        const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
        entered = spawnSync('setpriv', [...nobody, 'nsenter', '--net', '-t', String(pid), 'true']).status;
        networks = [process.pid, pid].map((one) => readlinkSync(`/proc/${one}/ns/net`));
        writeFileSync(untilFile, '');
      },
    });
    expect(new Set(sums).size).toBe(1);
    expect(networks).toHaveLength(2);
    expect(listening).toBe('');
    expect(networks[0]).not.toBe(networks[1]);
    // The port that mpirun opens whatever it is told: open in there, closed from here, and no way in for others.
    expect(inside.length).toBeGreaterThan(0);
    const all = (await reached).flat();
    expect(all).toContain('ECONNREFUSED');
    expect(all).not.toContain('connected');
    // Only root can try as somebody else.
    expect(process.getuid?.() === 0 && entered === 0).toBe(false);
    // Other jobs of this process may run beside it.
    expect(basename(folder)).toContain(`-${process.pid}-`);
    expect(existsSync(folder)).toBe(false);
  });
});

describe('folders of jobs', () => {
  it('go when their launcher is gone, and only then', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    const dead = `monta-mpi-${child.pid}-abc`;
    mkdirSync(join(base, dead, 'ompi.host.0'), { recursive: true });
    mkdirSync(join(base, 'monta-mpi-x'));
    const own = makePlace(base);
    expect(existsSync(join(base, dead))).toBe(false);
    expect(removeDeadPlaces(base)).toEqual([]);
    const others = readdirSync(base).filter((name) => name.startsWith('monta-mpi-'));
    expect(others).toEqual([own.slice(base.length + 1), 'monta-mpi-x'].sort());
  });
});
