/**
 * What the page promises of its speed, with ten times as much room: how fast this machine is, and what else it does, is
 * its own affair. `npm run bench:studio` prints the figures on a quiet one.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { framesPerSecond, openingMilliseconds, sliderMilliseconds } from './measures.js';
import { openPage } from './studio-page.js';
import { browser, studio, withStudio } from './test-studio.js';

const slack = 10;

withStudio();
const folder = mkdtempSync(join(tmpdir(), 'monta-speed-'));

afterAll(() => rmSync(folder, { recursive: true }));

it.each<Readonly<Record<string, string>>>([
  { model: '2x70b', cluster: 'a800-2x8' },
  { model: 'deepseek-v3', cluster: 'h800-256x8', ep: '32' },
])('a slider answers for a layer of $model', async (layer) => {
  const { page } = await openPage(browser, `${studio.address}#/explore?${new URLSearchParams(layer).toString()}`);
  expect(await sliderMilliseconds(page, 'network, times its own', [4, 2, 5, 1, 4, 2, 5])).toBeLessThan(100 * slack);
});

it('moves through a hundred thousand spans', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/timeline?overlay=0`);
  await openingMilliseconds(page, folder, 100_000);
  expect(await framesPerSecond(page)).toBeGreaterThan(60 / slack);
  expect(faults).toEqual([]);
});

it('opens a trace of 50 MB', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/timeline`);
  expect(await openingMilliseconds(page, folder, 380_000)).toBeLessThan(5000 * slack);
  expect(faults).toEqual([]);
});
