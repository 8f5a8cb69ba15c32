/**
 * `npm run docs:studio -- <run folder>`: pictures of the pages for docs/studio.md, wide and narrow, light and dark;
 * that of a run where one is named. With `--all` of every page in every look.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { kinetoTrace } from './made-trace.js';
import { launch, openPage, root, startStudio } from './studio-page.js';

const folder = join(root, 'docs/studio');

/** Those that the page of docs shows. `--all` makes every page in every look. */
const shown = [
  'plan-light',
  'plan-dark',
  'plan-phone',
  'explore-light',
  'explore-phone-dark',
  'timeline-light',
  'timeline-phone',
  'traffic-dark',
  'traffic-phone-dark',
  'run-dark',
  'run-phone',
];

interface Shot {
  readonly name: string;
  readonly place: string;
  /** Waits until there is something to see. */
  readonly ready: (page: Page) => Promise<void>;
}

const layer = 'model=2x70b&cluster=a800-2x8';

const shots: readonly Shot[] = [
  {
    name: 'plan',
    place: 'plan?model=mixtral-8x22b&cluster=h100-16x8',
    ready: (page) => page.getByLabel('Why').getByText('Rests on').waitFor(),
  },
  {
    name: 'explore',
    place: `explore?${layer}`,
    ready: (page) => page.locator('.map td[class*=b-s]').nth(27).waitFor(),
  },
  {
    name: 'timeline',
    place: `timeline?${layer}`,
    ready: async (page) => {
      const buffer = Buffer.from(kinetoTrace(400, 2));
      const input = page.locator('input[type=file][aria-label="open a trace"]');
      await input.waitFor({ state: 'attached' });
      await input.setInputFiles({ name: 'profile.json', mimeType: 'application/json', buffer });
      await page.getByRole('heading', { name: /profile.json, and/u }).waitFor();
    },
  },
  {
    name: 'traffic',
    place: `traffic?${layer}`,
    ready: (page) => page.getByRole('region', { name: 'Fullest ports' }).waitFor(),
  },
  { name: 'run', place: 'run', ready: (page) => page.getByText('Load of experts').first().waitFor() },
];

const looks = [
  { name: 'light', viewport: { width: 1280, height: 760 }, colorScheme: 'light' },
  { name: 'dark', viewport: { width: 1280, height: 760 }, colorScheme: 'dark' },
  { name: 'phone', viewport: { width: 420, height: 800 }, colorScheme: 'light' },
  { name: 'phone-dark', viewport: { width: 420, height: 800 }, colorScheme: 'dark' },
] as const;

const all = process.argv.includes('--all');
const run = process.argv.slice(2).find((one) => !one.startsWith('--'));
mkdirSync(folder, { recursive: true });
// The run that is shown is one that took place.
const [browser, studio] = await Promise.all([launch(), startStudio(run)]);
try {
  for (const { name, viewport, colorScheme } of looks)
    for (const shot of shots) {
      const file = `${shot.name}-${name}`;
      if ((shot.name === 'run' && run === undefined) || (!all && !shown.includes(file))) continue;
      const { address } = studio;
      const { page } = await openPage(browser, `${address.slice(0, address.indexOf('#') >>> 0)}#/${shot.place}`, {
        viewport,
        colorScheme,
      });
      await shot.ready(page);
      await page.screenshot({ path: join(folder, `${file}.png`), animations: 'disabled' });
      await page.context().close();
      process.stdout.write(`${file}.png\n`);
    }
} finally {
  studio.stop();
  await browser.close();
}
