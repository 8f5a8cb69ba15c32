/** What the first page takes, and that it needs no network afterwards. */
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { openPage } from './studio-page.js';
import { browser, studio, withStudio } from './test-studio.js';

/** Gzipped scripts until a plan is shown. */
const mostBytes = 145_000;

withStudio();

it('shows a plan with less than 145 kB of gzipped script', async () => {
  const page = await browser.newPage();
  const scripts = new Map<string, Promise<Buffer>>();
  page.on('response', (response) => {
    if (/javascript/u.test(response.headers()['content-type'] ?? '')) scripts.set(response.url(), response.body());
  });
  await page.goto(`${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-2x8`);
  await page.getByRole('region', { name: 'Table of plans' }).waitFor();
  await page.waitForLoadState('networkidle');
  const bodies = await Promise.all(scripts.values());
  expect([...scripts.keys()].some((url) => url.includes('studio-worker'))).toBe(true);
  expect(bodies.reduce((sum, body) => sum + gzipSync(body, { level: 9 }).length, 0)).toBeLessThan(mostBytes);
});

it('opens again and plans without a network', async () => {
  const { page, faults } = await openPage(browser, `${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-2x8`);
  await page.getByRole('region', { name: 'Table of plans' }).waitFor();
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
  });
  await page.context().setOffline(true);
  await page.reload();
  await page.getByRole('region', { name: 'Table of plans' }).waitFor();
  await page.getByRole('link', { name: 'Explore' }).click();
  await page.locator('.verdict').waitFor();
  expect(faults).toEqual([]);
});
