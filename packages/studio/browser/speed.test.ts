/** What the page promises of its speed. `npm run bench:studio` prints the figures. */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { framesPerSecond, openingMilliseconds, sliderMilliseconds } from './measures.js';
import { openPage } from './studio-page.js';
import { browser, studio, withStudio } from './test-studio.js';

/** On a machine that does nothing besides: 1. The bounds grow with what else runs. */
const slack = Math.max(1, (2 * (loadavg()[0] ?? 0)) / availableParallelism());

withStudio();
const folder = mkdtempSync(join(tmpdir(), 'monta-speed-'));

afterAll(() => rmSync(folder, { recursive: true }));

it.each<Readonly<Record<string, string>>>([
  { model: '2x70b', cluster: 'a800-2x8' },
  { model: 'deepseek-v3', cluster: 'h800-256x8', ep: '32' },
])('a slider answers within 100 ms for a layer of $model', async (layer) => {
  const { page } = await openPage(browser, `${studio.address}#/explore?${new URLSearchParams(layer).toString()}`);
  expect(await sliderMilliseconds(page, 'network, times its own', [4, 2, 5, 1, 4, 2, 5])).toBeLessThan(100 * slack);
});

it('moves through a hundred thousand spans at 60 frames a second', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/timeline?overlay=0`);
  await openingMilliseconds(page, folder, 100_000);
  // A frame of a display is never exact.
  expect(await framesPerSecond(page)).toBeGreaterThan(57 / slack);
  expect(faults).toEqual([]);
});

it('opens a trace of 50 MB in less than 5 s', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/timeline`);
  expect(await openingMilliseconds(page, folder, 380_000)).toBeLessThan(5000 * slack);
  expect(faults).toEqual([]);
});
