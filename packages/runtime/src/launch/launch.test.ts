import { builtTesting } from '../../testing/built.js';
import { afterEach, describe, expect, it } from 'vitest';
import { keepThreads } from './kept-threads.js';
import type { TransferRecord } from '../comm/communicator.js';
import { launchLocal, type LaunchOptions } from './launch-local.js';
import { RankFailure } from './failure.js';
import { withPatience } from '../../testing/patience.js';
import type { LaunchTestData } from '../../testing/launch/launch.worker.js';

const workerModule = builtTesting('launch/launch.worker');

function launch(
  behaviour: LaunchTestData['behaviour'],
  ranks: number,
  rank = 0,
  options: Partial<LaunchOptions> = {},
): Promise<unknown[]> {
  const workerData: LaunchTestData = { behaviour, rank };
  return launchLocal({ ranks, memoryBytes: 1 << 16, workerModule, workerData, ...options });
}

async function failureOf(job: Promise<unknown>): Promise<RankFailure> {
  const error: unknown = await job.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof RankFailure) return error;
  throw new Error('the job did not end with a RankFailure', { cause: error });
}

describe('launchLocal', () => {
  it('returns what every rank returned, and passes messages on', async () => {
    const ready: number[] = [];
    const onMessage = (rank: number): number => ready.push(rank);
    const results = await launch('return', 3, 0, { onMessage });
    expect(results).toEqual([0, 1, 2].map((rank) => ({ rank, sum: 3, allocated: 64 })));
    expect(ready.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  });

  it('names the rank that threw, with its own stack', async () => {
    const failure = await failureOf(launch('throw', 4, 2));
    expect(failure.rank).toBe(2);
    expect(failure.message).toBe('rank 2 failed: out of luck');
    expect(failure.cause).toMatchObject({ name: 'RangeError', message: 'out of luck' });
    expect((failure.cause as Error).stack).toMatch(/launch\.worker/);
  });

  it('stops ranks that compute and never look up', async () => {
    const failure = await failureOf(launch('throw while others compute', 3, 1));
    expect(failure.message).toBe('rank 1 failed: out of luck');
  });

  it('notices a rank whose thread exits', async () => {
    const failure = await failureOf(launch('exit', 3, 1));
    expect(failure.rank).toBe(1);
    expect(failure.reason).toMatch(/exited with code 3/);
  });

  it('says which rank returned while others wait for it, and where', async () => {
    const failure = await failureOf(launch('return early', 3, 1));
    expect(failure.rank).toBe(1);
    expect(failure.reason).toMatch(/all_reduce "gradients" \(operation 1 of communicator inter\/world\)/);
    expect(failure.reason).toMatch(/rank 1 returned without submitting it, awaited by ranks? [02]/);
  });

  it('finds ranks that wait for each other in different operations', async () => {
    const failure = await failureOf(launch('deadlock', 2, 1));
    expect(failure.reason).toMatch(/every rank waits and nothing can move/);
    expect(failure.reason).toMatch(/communicator intra\/world\): rank 1 has not submitted it, awaited by rank 0/);
    expect(failure.reason).toMatch(/communicator inter\/world\): rank 0 has not submitted it, awaited by rank 1/);
  });

  it('finds ranks that wait for events which nobody will record', async () => {
    const failure = await failureOf(launch('unrecorded event', 2));
    expect(failure.reason).toMatch(
      /waits for events that nothing will complete: no kernel can run and no transfer is awaited/,
    );
  });

  it('names both sides of a mismatch, the communicator, the operation and the labels', async () => {
    const { reason } = await failureOf(launch('mismatch', 2, 1));
    expect(reason).toMatch(/mismatch on communicator inter\/world, operation 1: /);
    expect(reason).toMatch(/\b8 (elements )?on rank 1/);
    expect(reason).toMatch(/\b16 (elements )?on rank 0/);
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
      expect(failure.reason).toMatch(/barrier "roll call".*rank 2 has not submitted it, awaited by ranks? [01]/s);
    });
  });

  it('stops when its signal does', async () => {
    const stop = new AbortController();
    const job = launch('forever', 3, 0, {
      signal: stop.signal,
      onMessage: () => stop.abort(new Error('enough')),
    });
    await expect(job).rejects.toThrow('enough');
    await expect(launch('return', 1, 0, { signal: stop.signal })).rejects.toThrow('enough');
  });

  it('completes operations that ranks submitted but did not wait for', async () => {
    expect(await launch('leave operations behind', 3)).toEqual(['left', 'left', 'left']);
  });

  it('traces operations on one clock', async () => {
    const results = (await launch('trace', 3, 0, { trace: true })) as { now: number; records: TransferRecord[] }[];
    for (const { now, records } of results) {
      const traced = records.filter(({ label }) => label === 'traced');
      expect(traced).toHaveLength(3);
      for (const [index, record] of traced.entries()) {
        expect(record.issued).toBeLessThanOrEqual(record.ready);
        expect(record.ready).toBeLessThanOrEqual(record.end);
        expect(record.end).toBeLessThanOrEqual(now);
        expect(record.issued).toBeGreaterThanOrEqual(traced[index - 1]?.end ?? 0);
      }
    }
    // Shares of 16 elements over 3 members are 16, 0 and 0: the first gives 2 blocks of results, the others 1
    // contribution each.
    expect(results.map(({ records }) => records.at(-1)?.bytes)).toEqual([128, 64, 64]);
    // All became ready at the same moment.
    const ready = results.map(({ records }) => records.at(-1)?.ready);
    expect(new Set(ready).size).toBe(1);
  });

  it('says that a module never called runRank', async () => {
    const idle = new URL('data:text/javascript,0');
    const failure = await failureOf(launchLocal({ ranks: 1, memoryBytes: 1024, workerModule: idle }));
    expect(failure.reason).toMatch(/does the module call runRank/);
  });
});

describe('keepThreads', () => {
  const usual = 9;
  afterEach(() => keepThreads(usual));

  /** Runs a job; the ids of its ranks' threads. */
  async function threadsOf(behaviour: 'return' | 'throw', ranks: number): Promise<ReadonlySet<number>> {
    const threads = new Set<number>();
    const onMessage = (_rank: number, message: unknown): void =>
      void threads.add((message as { readonly thread: number }).thread);
    const job = launch(behaviour, ranks, 0, { onMessage });
    await (behaviour === 'throw' ? failureOf(job) : job);
    return threads;
  }

  // A thread that gets no processor for a second when its job has failed is ended, not kept: on a busy machine that may
  // happen, though hardly ever again and again.
  it('gives the threads of a job to the next one, also when a rank threw', { retry: 4 }, async () => {
    keepThreads(0);
    keepThreads(4);
    const first = await threadsOf('return', 3);
    expect(await threadsOf('throw', 3)).toEqual(first);
    const more = await threadsOf('return', 4);
    expect([...first].every((thread) => more.has(thread))).toBe(true);
  });

  it('leaves none when none is to be kept', async () => {
    keepThreads(0);
    const first = await threadsOf('return', 2);
    const second = await threadsOf('return', 2);
    expect([...second].filter((thread) => first.has(thread))).toEqual([]);
  });
});
