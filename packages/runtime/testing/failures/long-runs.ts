/** What `npm run test:faults -- --soak STEPS` and `--large` measure, print and judge. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median, resolveLayout } from '@monta/core';
import { largeCheckpoint, largeTrace, mostBytes } from './large.js';
import { smallJob, smallText } from './small-job.js';
import { soak, type SoakSample } from './soak.js';

const mebibyte = 2 ** 20;
/** Of the last quarter of a long run over the second quarter, in which everything has been used. */
const mostGrowth = { 'heap and buffers': mebibyte, rss: 24 * mebibyte };

/** Trains two ranks for so many steps, saving now and then. Returns what was wrong. */
export function soakReport(steps: number, root: string): string[] {
  const text = join(root, 'text.txt');
  writeFileSync(text, smallText);
  const small = smallJob(text, join(root, 'soak'), 2);
  const samples = soak({
    ...small,
    step: { ...small.step, layout: resolveLayout({ dp: 2, ep: 2 }) },
    steps,
    checkpoint: { folder: join(root, 'soak'), every: Math.ceil(steps / 40), keep: 2 },
    evaluateEvery: Math.ceil(steps / 40),
  });
  const shown = (bytes: number): number => Number((bytes / mebibyte).toFixed(1));
  console.log('MiB after steps; heap, external and buffers of the launcher, garbage collected; rss of the process');
  console.table(
    samples.map(({ step, rss, heapUsed, external, arrayBuffers }) => ({
      step,
      rss: shown(rss),
      heapUsed: shown(heapUsed),
      external: shown(external),
      arrayBuffers: shown(arrayBuffers),
    })),
  );
  const measures: Readonly<Record<keyof typeof mostGrowth, (sample: SoakSample) => number>> = {
    'heap and buffers': ({ heapUsed, external }) => heapUsed + external,
    rss: ({ rss }) => rss,
  };
  return Object.entries(measures).flatMap(([name, of]) => {
    const quarter = (index: number): number =>
      median(samples.slice((index * samples.length) / 4, ((index + 1) * samples.length) / 4).map(of));
    const growth = quarter(3) - quarter(1);
    console.log(`${name}: ${shown(growth)} MiB more in the last quarter than in the second`);
    return growth > mostGrowth[name as keyof typeof mostGrowth] ? [`${name} grow with the steps`] : [];
  });
}

/** Saves, goes on from and reads large files. Returns what was wrong. */
export function largeReport(root: string): string[] {
  const rows = [...largeCheckpoint(root), largeTrace(root)];
  console.log(
    'peak RSS of the process with all its ranks; the model: weights, gradients and two moments, 16 bytes each',
  );
  console.table(rows);
  return rows.flatMap((row) =>
    row['beside it, MiB'] * mebibyte > mostBytes ? [`${row.what}: ${row['beside it, MiB']} MiB beside the model`] : [],
  );
}
