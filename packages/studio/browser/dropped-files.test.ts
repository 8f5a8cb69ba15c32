/** Files as people drop them, and keys as people press them. */
import { expect, it } from 'vitest';
import { kinetoTrace } from './made-trace.js';
import { openPage } from './studio-page.js';
import { browser, studio, withStudio } from './test-studio.js';

withStudio();

const textFile = (name: string, lines: readonly string[]) => ({
  name,
  mimeType: 'text/plain',
  buffer: Buffer.from(`${lines.join('\n')}\n`),
});

/** Two GPUs in one node, as `nvidia-smi topo -m` prints them; a NIC has a hostile name. */
const topology = textFile('topo.txt', [
  '\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity',
  'GPU0\t X \tNV18\tPIX\tSYS\t0-47\t0',
  'GPU1\tNV18\t X \tSYS\tPIX\t48-95\t1',
  'NIC0\tPIX\tSYS\t X \tSYS',
  'NIC1\tSYS\tPIX\tSYS\t X ',
  '',
  'NIC Legend:',
  '  NIC0: <img src=x>',
  '  NIC1: mlx5_1',
]);

/** One table of `all_gather_perf` on an H100, at 300 GB/s. */
const log = textFile('<img src=y>_all_gather.txt', [
  '# nThread 1 nGpus 2 minBytes 1048576 maxBytes 268435456 step: 16(factor)',
  '#  Rank  0 Group  0 Pid 10 on node1 device  0 [0x1b] NVIDIA H100 80GB HBM3',
  '#  Rank  1 Group  0 Pid 10 on node1 device  1 [0x43] NVIDIA H100 80GB HBM3',
  '#       size         count      type   redop    root     time   algbw   busbw #wrong',
  '1048576 262144 float none -1 1.75 600.00 300.00 0',
  '268435456 67108864 float none -1 447.39 600.00 300.00 0',
]);

it('plans on a topology and logs, asks for what they do not say, and shows hostile names as text', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-2x8`);
  const files = page.locator('input[type=file][aria-label*="topology"]');
  await files.setInputFiles([topology, log]);
  await page.getByRole('alert').waitFor();
  expect(await page.getByLabel('GPU', { exact: true }).getAttribute('aria-invalid')).toBe('true');
  await page.getByLabel('GPU', { exact: true }).fill('h100');
  await page.getByLabel('nodes', { exact: true }).fill('16');
  const grounds = page.getByRole('region', { name: 'Tiers and their grounds' });
  await grounds.getByText('300 GB/s').waitFor();
  expect(await grounds.innerText()).toContain('measured');
  expect(await page.locator('img').count()).toBe(0);
  await page.getByRole('button', { name: 'remove' }).click();
  await grounds.getByText('300 GB/s').waitFor({ state: 'detached' });
  expect(page.url()).toContain('nodes=16');
  expect(faults).toEqual([]);
});

it('lays the simulated layer over a trace of the profiler, where it is told to begin', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/timeline?model=2x70b&cluster=a800-2x8`);
  const input = page.locator('input[type=file][aria-label="open a trace"]');
  await input.waitFor({ state: 'attached' });
  const buffer = Buffer.from(kinetoTrace(4000, 2));
  await input.setInputFiles({ name: 'profile.json', mimeType: 'application/json', buffer });
  await page.getByRole('heading', { name: /profile.json, and .* simulated/u }).waitFor();
  const lanes = await page.locator('.rows li').allInnerTexts();
  expect(lanes).toContain('device 0 · stream 1');
  expect(lanes.filter((lane) => lane.endsWith('· simulated')).length).toBeGreaterThan(2);
  await page.locator('.timeline canvas').focus();
  for (const key of ['+', '+', 'ArrowRight', 'ArrowRight']) await page.keyboard.press(key);
  await page.getByRole('button', { name: 'simulated begins' }).click();
  expect(Number(new URLSearchParams(page.url().split('?').at(-1)).get('at'))).toBeGreaterThan(0);
  expect(faults).toEqual([]);
});

it('is worked by the keyboard alone', async () => {
  const { page } = await openPage(browser, `${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-2x8`);
  await page.getByRole('region', { name: 'Table of plans' }).waitFor();
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.textContent ?? '');
  const second = page.locator('section[aria-label=Plans] tbody tr').nth(1);
  const name = (await second.locator('button').innerText()).trim();
  for (let presses = 0; presses < 60 && (await focused()) !== name; presses++) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Why' }).getByRole('heading', { name }).waitFor();
  expect(await second.locator('button').getAttribute('aria-pressed')).toBe('true');
  await page.getByRole('link', { name: 'Explore' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('.verdict').waitFor();
  await page.getByLabel('tensor parallel').focus();
  await page.keyboard.press('ArrowLeft');
  expect(page.url()).toContain('tp=4');
});
