/** A short piece of `npm run fuzz`, always the same mutations. */
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { fuzz } from './fuzz.js';

/** Threads run built files. */
const worker = pathToFileURL(fileURLToPath(new URL('../../dist-testing/fuzz/fuzz.worker.js', import.meta.url)));

it('reads or refuses 400 mutated files, and neither crashes nor hangs', async () => {
  const { counts, troubles, next } = await fuzz({ worker, seed: 1, first: 0, count: 400 });
  expect(troubles).toEqual([]);
  expect(next).toBe(400);
  const refused = [...counts.values()].reduce((sum, count) => sum + count.refused, 0);
  expect(refused).toBeGreaterThan(130);
});
