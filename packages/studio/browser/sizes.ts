/** `npm run bench:studio`: bytes of the first page, and how long people wait. Printed, not tested. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { framesPerSecond, openingMilliseconds, sliderMilliseconds } from './measures.js';
import { launch, openPage, root, startStudio } from './studio-page.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-studio-bench-'));
const assets = join(root, 'packages/studio/dist/assets');
for (const name of readdirSync(assets)) {
  const bytes = gzipSync(readFileSync(join(assets, name))).length;
  process.stdout.write(`${name.replace(/-[\w-]{8}\./u, '.')}  ${(bytes / 1000).toFixed(1)} kB gzipped\n`);
}
const [browser, studio] = await Promise.all([launch(), startStudio()]);
try {
  const began = performance.now();
  const { page } = await openPage(browser, `${studio.address}#/plan?model=deepseek-v3&cluster=h800-256x8`);
  await page.getByRole('region', { name: 'Table of plans' }).waitFor();
  process.stdout.write(`plan of DeepSeek-V3 on 2,048 GPUs  ${((performance.now() - began) / 1000).toFixed(2)} s\n`);
  for (const layer of ['model=2x70b&cluster=a800-2x8', 'model=deepseek-v3&cluster=h800-256x8&ep=32']) {
    const explored = await openPage(browser, `${studio.address}#/explore?${layer}`);
    const waited = await sliderMilliseconds(explored.page, 'network, times its own', [4, 2, 5, 1, 4, 2, 5, 1, 4]);
    process.stdout.write(`slider, ${layer}  ${waited.toFixed(0)} ms, median of nine\n`);
  }
  const { page: timeline } = await openPage(browser, `${studio.address}#/timeline?overlay=0`);
  await openingMilliseconds(timeline, folder, 100_000);
  process.stdout.write(`100,000 spans, zoomed and moved  ${(await framesPerSecond(timeline)).toFixed(1)} frames/s\n`);
  const { page: large } = await openPage(browser, `${studio.address}#/timeline`);
  const opening = await openingMilliseconds(large, folder, 380_000);
  process.stdout.write(`trace of 53 MB opened  ${(opening / 1000).toFixed(2)} s\n`);
} finally {
  studio.stop();
  await browser.close();
  rmSync(folder, { recursive: true });
}
