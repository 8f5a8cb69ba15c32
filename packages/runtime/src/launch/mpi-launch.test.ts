import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { serialize } from 'node:v8';
import { afterEach, describe, expect, it } from 'vitest';
import type { TransferRecord } from '../comm/communicator.js';
import { testsOverMpi } from '../../testing/hosts.js';
import { builtTesting } from '../../testing/built.js';
import { withPatience } from '../../testing/patience.js';
import { RankFailure } from './failure.js';
import type { LaunchTestData } from '../../testing/launch/launch.worker.js';
import { Hub, type HubEvent } from './mpi-hub.js';
import { launchMpi, type MpiLaunchOptions } from './mpi-launch.js';
import { MpirunNotes } from './mpi-notes.js';
import { mpirunArguments, parseHosts } from './mpi-options.js';
import { maxOf } from '@monta/core';

const workerModule = builtTesting('launch/launch.worker');

function launch(
  behaviour: LaunchTestData['behaviour'],
  ranks: number,
  rank = 0,
  options: Partial<MpiLaunchOptions> = {},
): Promise<unknown[]> {
  const workerData: LaunchTestData = { behaviour, rank };
  return launchMpi({ ranks, memoryBytes: 1 << 16, workerModule, workerData, onErrorLine: () => undefined, ...options });
}

async function failureOf(job: Promise<unknown>): Promise<RankFailure> {
  const error: unknown = await job.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof RankFailure) return error;
  throw new Error('the job did not end with a RankFailure', { cause: error });
}

describe.runIf(testsOverMpi)('launchMpi', () => {
  it('returns what every rank returned, and passes messages on', async () => {
    const ready: number[] = [];
    const results = await launch('return', 3, 0, { onMessage: (rank) => ready.push(rank) });
    expect(results).toEqual([0, 1, 2].map((rank) => ({ rank, sum: 3, allocated: 64 })));
    expect(ready.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  });

  it('names the rank that threw, with its own stack', async () => {
    const failure = await failureOf(launch('throw', 3, 2));
    expect(failure.message).toBe('rank 2 failed: out of luck');
    expect(failure.cause).toMatchObject({ name: 'RangeError', message: 'out of luck' });
    expect((failure.cause as Error).stack).toMatch(/launch\.worker/);
  });

  it('stops ranks that compute and never look up', async () => {
    expect((await failureOf(launch('throw while others compute', 2, 1))).message).toBe('rank 1 failed: out of luck');
  });

  it('notices a rank whose process exits', async () => {
    const failure = await failureOf(launch('exit', 3, 1));
    expect(failure.message).toBe('rank 1 failed: its process exited with code 3 before it returned');
  });

  it('says which rank returned while others wait for it, and where', async () => {
    const failure = await failureOf(launch('return early', 3, 1));
    expect(failure.rank).toBe(1);
    expect(failure.reason).toMatch(/all_reduce "gradients" \(operation 1 of communicator inter\/world\)/);
    expect(failure.reason).toMatch(/rank 1 returned without submitting it, awaited by rank [02]/);
  });

  it('names both sides of a mismatch, the communicator, the operation and the labels', async () => {
    const { reason } = await failureOf(launch('mismatch', 2, 1));
    expect(reason).toMatch(/mismatch on communicator inter\/world, operation 1: /);
    expect(reason).toMatch(/\b8 elements on rank 1|\b16 elements on rank 0/);
    expect(reason).toMatch(/rank 1: all_reduce "eight"/);
    expect(reason).toMatch(/rank 0: all_reduce "sixteen"/);
  });

  it('refuses a communicator that its members made differently', async () => {
    const { reason } = await failureOf(launch('other members', 3, 1));
    expect(reason).toMatch(/communicator inter\/part: rank \d made it with members .*, rank \d with members/);
  });

  it('gives up on a rank that keeps others waiting for longer than allowed', async () => {
    await withPatience(1, async (stuckAfterSeconds) => {
      const failure = await failureOf(launch('never come', 3, 2, { stuckAfterSeconds }));
      expect(failure.rank).toBe(2);
      expect(failure.reason).toMatch(/barrier "roll call".*rank 2 has not submitted it, awaited by rank [01]/s);
    });
  });

  it('gives up on an event that nobody records', async () => {
    await withPatience(0.5, async (stuckAfterSeconds) => {
      const { reason } = await failureOf(launch('unrecorded event', 2, 0, { stuckAfterSeconds }));
      expect(reason).toMatch(/never completed/);
    });
  });

  it('stops when its signal does', async () => {
    const stop = new AbortController();
    const job = launch('forever', 2, 0, { signal: stop.signal, onMessage: () => stop.abort(new Error('enough')) });
    await expect(job).rejects.toThrow('enough');
    await expect(launch('return', 1, 0, { signal: stop.signal })).rejects.toThrow('enough');
  });

  it('completes operations that ranks submitted but did not wait for', async () => {
    expect(await launch('leave operations behind', 3)).toEqual(['left', 'left', 'left']);
  });

  it('traces operations on one clock', async () => {
    const results = (await launch('trace', 3, 0, { trace: true })) as { now: number; records: TransferRecord[] }[];
    const traced = results.map(({ records }) => records.filter(({ label }) => label === 'traced'));
    for (const [rank, records] of traced.entries()) {
      expect(records).toHaveLength(3);
      for (const [index, record] of records.entries()) {
        expect(record.issued).toBeLessThanOrEqual(record.ready);
        expect(record.ready).toBeLessThanOrEqual(record.end);
        expect(record.end).toBeLessThanOrEqual(results[rank]?.now ?? 0);
        expect(record.issued).toBeGreaterThanOrEqual(records[index - 1]?.end ?? 0);
        // The last to come decides when all are ready.
        expect(record.ready).toBe(maxOf(traced.map((others) => others[index]?.issued ?? 0)));
      }
    }
  });

  it('says that a module never called runRank', async () => {
    const job = launchMpi({ ranks: 1, memoryBytes: 1024, workerModule: new URL('data:text/javascript,0') });
    expect((await failureOf(job)).reason).toMatch(/did not call runRank/);
  });
});

function run(...behaviour: string[]): { status: number | null; stdout: string; stderr: string } {
  const main = builtTesting('launch/mpi-direct.main').pathname;
  const command = mpirunArguments({
    ranks: 3,
    lostAfterSeconds: 15,
    environment: [],
    command: [process.execPath, main, ...behaviour],
  });
  return spawnSync('mpirun', command, { encoding: 'utf8' });
}

describe.runIf(testsOverMpi)('a job that the person starts with mpirun', () => {
  it('brings results and messages to rank 0', () => {
    const { status, stdout } = run('return');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      results: [0, 1, 2].map((rank) => ({ rank, sum: 3, allocated: 64 })),
      messages: [0, 1, 2],
    });
  });

  it('runs one job after another', () => {
    const { status, stdout } = run('return', '0', '3');
    expect(status).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ results: [{ sum: 3 }, { sum: 3 }, { sum: 3 }] });
  });

  it('ends with the failing rank and its reason', () => {
    const { status, stderr } = run('throw', '1');
    expect(status).toBe(1);
    expect(stderr).toMatch(/rank 1 failed: RangeError: out of luck/);
  });
});

describe('the launcher of a job over MPI', () => {
  const hubs: Hub[] = [];
  afterEach(() => hubs.splice(0).forEach((hub) => hub.close()));

  const hub = async (events: HubEvent[]): Promise<number> => {
    const job = {
      workerModule: '',
      data: undefined,
      memoryBytes: 0,
      maximumMemoryBytes: undefined,
      trace: false,
      stuckAfterSeconds: undefined,
      lostAfterSeconds: 600,
    };
    const made = new Hub({
      ranks: 2,
      address: { host: '127.0.0.1' },
      token: 'a'.repeat(64),
      version: '1.0.0',
      job,
      startSeconds: 600,
      onEvent: (event) => events.push(event),
    });
    hubs.push(made);
    return Number((await made.listen()).split(':')[1]);
  };

  it('hangs up on whoever does not show the token, and goes on', async () => {
    const events: HubEvent[] = [];
    const port = await hub(events);
    for (const first of [`monta-1 ${'b'.repeat(64)}`, 'GET / HTTP/1.1\r\n\r\n']) {
      const socket = connect(port, '127.0.0.1');
      socket.write(first);
      await once(socket, 'close');
    }
    expect(events).toEqual([]);
  });

  it('hangs up on crowds of strangers, and on a rank whose messages are none', async () => {
    const events: HubEvent[] = [];
    const port = await hub(events);
    const crowd = Array.from({ length: 300 }, () => connect(port, '127.0.0.1'));
    const gone = crowd.map((socket) => once(socket, 'close').catch(() => undefined));
    // Of 300 that say nothing, those beyond the limit are sent away at once.
    await Promise.all(gone.slice(-40));
    for (const socket of crowd) socket.destroy();
    await Promise.all(gone);
    for (const body of [Buffer.from('no clone of anything'), serialize({ kind: 'failed' }), serialize(7)]) {
      const socket = connect(port, '127.0.0.1');
      const length = Buffer.alloc(4);
      length.writeUInt32LE(body.length);
      socket.write(Buffer.concat([Buffer.from(`monta-1 ${'a'.repeat(64)}`), length, body]));
      await once(socket, 'close');
    }
    expect(events).toEqual([]);
  });

  it('refuses hosts that others must reach but cannot', async () => {
    const hosts = parseHosts('far:1,near:1');
    const job = launchMpi({ ranks: 2, memoryBytes: 1024, workerModule, hosts });
    await expect(job).rejects.toThrow(/ranks on hosts far, near must reach the launcher.*bind/);
    const named = launchMpi({ ranks: 2, memoryBytes: 1024, workerModule, hosts, bind: 'here' });
    await expect(named).rejects.toThrow(/cannot listen on 'here'/);
  });
});

describe('mpirun', () => {
  it('gets hosts and slots in rank order, and a person’s options in place of its own', () => {
    const given = mpirunArguments({
      ranks: 12,
      hosts: parseHosts('a:8,b:4'),
      lostAfterSeconds: 9,
      mpirunOptions: ['--mca', 'btl', 'self,tcp'],
      environment: ['TOKEN'],
      command: ['node', 'main.js'],
    }).join(' ');
    expect(given).toMatch(/-n 12 .*--host a:8,b:4 .*--mca btl self,tcp -x TOKEN node main\.js$/);
    expect(given.match(/--mca btl /g)).toHaveLength(1);
    expect(() =>
      mpirunArguments({
        ranks: 3,
        hosts: [{ name: 'a', slots: 2 }],
        lostAfterSeconds: 9,
        environment: [],
        command: [],
      }),
    ).toThrow(/3 ranks do not fit 2 slots/);
    expect(parseHosts('a, b:3')).toEqual([
      { name: 'a', slots: 1 },
      { name: 'b', slots: 3 },
    ]);
    expect(() => parseHosts('a:b')).toThrow(/cannot read "a:b"/);
  });

  it('is asked whose process ended first', () => {
    const passed: string[] = [];
    const notes = new MpirunNotes((line) => passed.push(line));
    const dashes = '-'.repeat(74);
    notes.push(`a rank's own line\n${dashes}\nmpirun noticed that process rank 3 with PID 0 on node n1 exited on`);
    expect(notes.verdict()).toBeUndefined();
    notes.push(` signal 9 (Killed).\n${dashes}\nanother\n`);
    expect(notes.verdict()).toEqual({ rank: 3, reason: 'its process on host n1 was ended by signal 9 (Killed)' });
    expect(passed).toEqual(["a rank's own line", 'another']);
  });
});
