/** `npm run bench:studio`: bytes of the first page, and how long people wait. Printed, not tested. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { launch, openPage, root, startStudio } from './studio-page.js';

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
} finally {
  studio.stop();
  await browser.close();
}
