/** Processes that somebody else started, found and led by rank 0; their ranks are processes without cards. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '@monta/core/units';
import { builtTesting } from '../../testing/built.js';
import { withPatience } from '../../testing/patience.js';
import type { MeshJob, MeshRank } from '../../testing/launch/mesh-rank.main.js';
import { RankFailure } from './failure.js';
import { sendFrame, sendToken } from './mpi-frames.js';
import { findRendezvous, makeRendezvous, runFolder } from './rendezvous.js';
import { startedPlace, type Environment } from './started-place.js';
import { leadStarted } from './started-ranks.js';

const main = builtTesting('launch/mesh-rank.main');
const token = 'a token of this test, that is long enough';
let base = '';
let port = 0;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'monta-started-'));
  port = await freePort();
});
afterAll(() => rmSync(base, { recursive: true }));

/** A port that nobody listens at. Those from 32768 on go to calls of other tests, at any time. */
async function freePort(): Promise<number> {
  for (;;) {
    const candidate = randomInt(20_000, 32_000);
    const server = createServer();
    const listening = once(server, 'listening').then(() => true);
    const taken = once(server, 'error').then(() => false);
    server.listen(candidate, '127.0.0.1');
    const free = await Promise.race([listening, taken]);
    server.close();
    if (free) return candidate;
  }
}

/** As torchrun starts rank `rank` of `size`, on so many hosts. */
function environmentOf(rank: number, size: number, hosts: number, run: string): Environment {
  const localSize = size / hosts;
  return {
    TORCHELASTIC_RUN_ID: run,
    RANK: String(rank),
    WORLD_SIZE: String(size),
    LOCAL_RANK: String(rank % localSize),
    LOCAL_WORLD_SIZE: String(localSize),
    ...(hosts > 1 ? { MONTA_ADDRESS: `127.0.0.1:${port}`, MONTA_TOKEN: token } : {}),
  };
}

interface Run {
  readonly size: number;
  readonly hosts?: number;
  readonly run: string;
  readonly job?: MeshJob;
  readonly jobs?: number;
  /** Ranks that never come. */
  readonly missing?: readonly number[];
  readonly startSeconds?: number;
}

/** What rank 0's jobs return, or how the run fails; all processes of the run are this one. */
async function lead({ size, hosts = 1, run, job = {}, jobs = 1, missing = [], startSeconds = 300 }: Run) {
  const ranks = Array.from({ length: size }, (_, rank) => rank).filter((rank) => !missing.includes(rank));
  const [first, ...others] = ranks.map(async (rank) => {
    const environment = environmentOf(rank, size, hosts, run);
    const place = startedPlace(environment);
    if (place === undefined) throw new Error('nobody started it');
    const cards = (): string[] => [`card ${rank}`];
    return await leadStarted({ place, environment, base, main, cards, startSeconds }, async ({ launch }) => {
      const all: MeshRank[][] = [];
      for (let number = 0; number < jobs; number++)
        all.push((await launch({ ranks: size, memoryBytes: 0, workerModule: main, workerData: job })) as MeshRank[]);
      return all;
    });
  });
  const settled = Promise.allSettled(others);
  try {
    return (await first) ?? [];
  } finally {
    await settled;
  }
}

async function failureOf(run: Promise<unknown>): Promise<RankFailure | InputError> {
  const error: unknown = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof RankFailure || error instanceof InputError) return error;
  throw new Error('it did not fail as it should', { cause: error });
}

describe('processes that a launcher started', () => {
  it.each([
    ['on one host meet at sockets in a folder', { size: 2, hosts: 1, jobs: 2 }, false],
    ['on several hosts meet over TCP', { size: 3, hosts: 3, jobs: 1 }, true],
  ] as const)('%s, job after job, and leave nothing', async (name, run, overTcp) => {
    const { size, jobs } = run;
    const everyone = Array.from({ length: size }, (_, rank) => rank);
    const all = await lead({ ...run, run: name });
    expect(all).toHaveLength(jobs);
    for (const ranks of all)
      expect(ranks).toMatchObject(
        everyone.map((rank) => ({
          rank,
          overTcp,
          heard: everyone.filter((other) => other !== rank).map((other) => [other, 100 * other + rank]),
          loopback: undefined,
        })),
      );
    const pids = all.flat().map(({ pid }) => pid);
    expect(new Set(pids).size).toBe(size * jobs);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(readdirSync(base)).toEqual([]);
  });

  it('fail together, with the rank that failed named', async () => {
    const { message } = await failureOf(lead({ size: 2, hosts: 2, run: 'exits', job: { fault: 'exits' } }));
    expect(message).toMatch(/rank 1 failed: its process (exited with code 3|ended before it returned)/u);
    expect(readdirSync(base)).toEqual([]);
  });

  it('name a rank that does not come', async () => {
    await withPatience(0.5, async (startSeconds) => {
      const failure = await failureOf(lead({ size: 3, run: 'missing', missing: [2], startSeconds }));
      expect(failure.message).toBe(`rank 2 failed: it did not start within ${startSeconds} s`);
    });
  });

  it('are refused where the job has another number of ranks', async () => {
    const environment = environmentOf(0, 2, 1, 'other');
    const other = environmentOf(1, 2, 1, 'other');
    const options = { base, main, cards: () => ['card'] };
    const places = [environment, other].map((one) => ({ place: startedPlace(one)!, environment: one, ...options }));
    const [first, second] = places.map((one) =>
      leadStarted(one, ({ launch }) => launch({ ranks: 4, memoryBytes: 0, workerModule: main })),
    );
    const [error, onOthers] = await Promise.all([failureOf(first), failureOf(second)]);
    expect(onOthers.message).toBe('rank 0 failed: its command failed, and says why');
    expect((error as InputError).format()).toMatch(/4 ranks, but torchrun started 2 processes.*nproc-per-node 4/su);
  });
});

describe('strangers', () => {
  const hello = { kind: 'hello', rank: 1, size: 2, host: 'h', pid: 1, version: '0.0.0-other' } as const;

  /** Calls rank 0 over TCP before rank 1 does; what it is told, until it is sent away. */
  async function call(say: (socket: ReturnType<typeof connect>) => void): Promise<Buffer> {
    for (;;) {
      const heard = await new Promise<Buffer | undefined>((resolve) => {
        const pieces: Buffer[] = [];
        const socket = connect(port, '127.0.0.1', () => say(socket));
        socket.on('data', (piece) => pieces.push(piece));
        socket.on('error', () => resolve(undefined));
        socket.on('close', () => resolve(Buffer.concat(pieces)));
      });
      if (heard !== undefined) return heard;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  it('with a wrong token, or with none, hear nothing and disturb nothing', async () => {
    const run = lead({ size: 2, hosts: 2, run: 'strangers' });
    const heard = await Promise.all([
      call((socket) => {
        sendToken(socket, token.replace('a', 'b'));
        sendFrame(socket, hello);
      }),
      call((socket) => socket.end('GET / HTTP/1.1\r\n\r\n')),
    ]);
    expect(heard.map(({ length }) => length)).toEqual([0, 0]);
    expect((await run)[0]).toHaveLength(2);
  });

  it('are told what may be wrong where a rank shows another token', async () => {
    const run = failureOf(lead({ size: 2, hosts: 2, run: 'token', missing: [1] }));
    const environment = { ...environmentOf(1, 2, 2, 'token'), MONTA_TOKEN: token.replace('a', 'b') };
    const place = startedPlace(environment)!;
    const other = leadStarted({ place, environment, base, main, cards: () => ['card'] }, () => Promise.resolve());
    await expect(other).rejects.toThrow('is the token the same on all hosts?');
    // Rank 0 goes on waiting, until somebody who knows the token ends the run.
    await call((socket) => {
      sendToken(socket, token);
      sendFrame(socket, hello);
    });
    expect((await run).message).toMatch(/rank 1 failed: on host h/u);
  });

  it('of another version end the run, both versions named', async () => {
    const run = failureOf(lead({ size: 2, hosts: 2, run: 'version', missing: [1] }));
    await call((socket) => {
      sendToken(socket, token);
      sendFrame(socket, hello);
    });
    expect((await run).message).toMatch(/rank 1 failed: on host h it runs Monta 0\.0\.0-other, the launcher runs/u);
  });
});

describe('where processes meet', () => {
  const place = (environment: Environment) => ({ place: startedPlace(environment)!, environment, base });
  const complaint = async (environment: Environment): Promise<string> =>
    ((await failureOf(makeRendezvous(place(environment)))) as InputError).format();
  const { MONTA_ADDRESS: _address, MONTA_TOKEN: _token, ...bare } = environmentOf(0, 2, 2, 'bare');

  it('needs a token over TCP, that nobody can guess or read', async () => {
    const open = join(base, 'open');
    writeFileSync(open, token);
    chmodSync(open, 0o644);
    expect(await complaint(bare)).toMatch(/2 hosts meet over TCP.*MONTA_TOKEN.*MONTA_TOKEN_FILE.*openssl.*torchrun/su);
    expect(await complaint({ ...bare, MONTA_TOKEN: 'short' })).toMatch(/5 characters/u);
    expect(await complaint({ ...bare, MONTA_TOKEN_FILE: open })).toMatch(/others can read the token.*chmod 600/su);
    expect(await complaint({ ...bare, MONTA_TOKEN_FILE: join(base, 'none') })).toMatch(/no such file/u);
    chmodSync(open, 0o600);
    const given = { ...bare, MONTA_TOKEN_FILE: open, MONTA_ADDRESS: '127.0.0.1:1' };
    expect(await makeRendezvous(place(given))).toEqual({ address: '127.0.0.1:1', token });
    rmSync(open);
  });

  it('needs an address of rank 0 that others reach', async () => {
    const with0 = { ...bare, MONTA_TOKEN: token };
    expect(await complaint(with0)).toMatch(/does not say where rank 0 is.*MONTA_ADDRESS=host:port/su);
    expect(await complaint({ ...with0, MASTER_ADDR: '127.0.0.1' })).toMatch(/on which port/u);
    const { MONTA_ADDRESS: _none, ...second } = environmentOf(1, 2, 2, 'bare');
    const elsewhere = { ...second, MASTER_ADDR: 'localhost', MASTER_PORT: '29500' };
    // Nobody waits there for who does not come.
    expect((await failureOf(findRendezvous(place(elsewhere), 60))).message).toMatch(/other hosts do not reach/u);
    const local = { ...with0, MASTER_ADDR: '127.0.0.1', MASTER_PORT: '29500' };
    expect(await complaint(local)).toMatch(/127\.0\.0\.1, which other hosts do not reach/u);
    expect(await complaint({ ...local, MASTER_ADDR: '192.0.2.1' })).toMatch(/no address of this host/u);
  });

  it('is a folder of this user alone on one host: others’ are refused, what a killed run left goes', async () => {
    const environment = environmentOf(0, 2, 1, 'left');
    const folder = runFolder(startedPlace(environment)!.run, base);
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(join(folder, 'token'), 'old');
    const { token: fresh } = await makeRendezvous(place(environment));
    expect(fresh).toMatch(/^[0-9a-f]{64}$/u);
    chmodSync(folder, 0o755);
    expect(await complaint(environment)).toMatch(/somebody else's, or others can enter it/u);
    rmSync(folder, { recursive: true });
  });
});
