/** The browser and the studio of a file of tests. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { launch, startStudio, type Studio } from './studio-page.js';

export let browser: Browser;
export let studio: Studio;

/** Starts both before the tests of the file that calls it, and ends both behind them. */
export function withStudio(): void {
  beforeAll(async () => {
    [browser, studio] = await Promise.all([launch(), startStudio()]);
  });
  afterAll(async () => {
    studio.stop();
    await browser.close();
  });
}
