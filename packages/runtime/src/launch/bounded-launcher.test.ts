import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { boundedLauncher, OutOfTime } from './bounded-launcher.js';
import { localLauncher, type Launcher } from './launcher.js';

/** Its jobs run until they are stopped. */
const endless: Launcher = {
  ...localLauncher,
  launch: ({ signal }) =>
    new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    }),
};
const stuckAfterSeconds = 7;

describe('a launcher with an end', () => {
  it('ends the job that runs then, and begins none afterwards', async () => {
    const bounded = boundedLauncher(endless, { end: performance.now() + 20, stuckAfterSeconds });
    const job = { ranks: 1, memoryBytes: 1, workerModule: 'none' };
    await expect(bounded.launch(job)).rejects.toBeInstanceOf(OutOfTime);
    const late = { ...endless, launch: () => Promise.reject(new Error('it began')) };
    await delay(1);
    await expect(boundedLauncher(late, { end: performance.now() - 1, stuckAfterSeconds }).launch(job)).rejects.toThrow(
      'time was over',
    );
  });

  it('lets other jobs be, says when a rank is stuck, and hears signals', async () => {
    const asked: (number | undefined)[] = [];
    const counted: Launcher = {
      ...localLauncher,
      launch: ({ stuckAfterSeconds: stuck }) => {
        asked.push(stuck);
        return Promise.resolve(['done']);
      },
    };
    const end = performance.now() + 60_000;
    const job = { ranks: 1, memoryBytes: 1, workerModule: 'none' };
    expect(await boundedLauncher(counted, { end, stuckAfterSeconds }).launch(job)).toEqual(['done']);
    await boundedLauncher(counted, { end, stuckAfterSeconds }).launch({ ...job, stuckAfterSeconds: 3 });
    expect(asked).toEqual([stuckAfterSeconds, 3]);
    const stop = new AbortController();
    const stopped = boundedLauncher(endless, { end, stuckAfterSeconds, signal: stop.signal }).launch(job);
    stop.abort(new Error('enough'));
    await expect(stopped).rejects.toThrow('enough');
  });
});
