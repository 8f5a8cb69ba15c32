/** Ctrl-C in the middle of a run: what is said. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { RunFolder } from '../run-folder.js';
import { interruptible, Whereabouts } from './interruption.js';

const parent = mkdtempSync(join(tmpdir(), 'monta-interrupted-'));
afterAll(() => rmSync(parent, { recursive: true }));

/** What a run that has done and saved so many of 40 steps throws at Ctrl-C. */
async function stopped(done: number, saved: number): Promise<string> {
  const where = new Whereabouts(40, RunFolder.create(parent, new Date(2026, 10, 24)));
  const listeners = process.listenerCount('SIGINT');
  const run = interruptible(where, async (signal) => {
    [where.done, where.saved] = [done, saved];
    process.emit('SIGINT');
    signal.throwIfAborted();
    return await Promise.resolve('went on');
  });
  const said = await run.catch((error: unknown) => error);
  expect(process.listenerCount('SIGINT')).toBe(listeners);
  expect(said).toMatchObject({ exitCode: 130 });
  return said instanceof Error ? said.message : '';
}

it('names the step, and the command that goes on from the last checkpoint', async () => {
  const folder = join(parent, '2026-11-24-a');
  expect(await stopped(27, 20)).toBe(
    'interrupted after step 27 of 40; go on from step 20 with\n' +
      `  monta train ${join(folder, 'config.yaml')} --resume ${join(folder, 'checkpoints')}`,
  );
});

it('does not promise what is not there', async () => {
  expect(await stopped(7, 0)).toBe('interrupted after step 7 of 40; nothing was saved yet');
  expect(await stopped(0, 0)).toBe('interrupted before the first step; nothing was saved yet');
});
