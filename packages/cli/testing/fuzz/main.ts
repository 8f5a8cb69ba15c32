/** `npm run fuzz -- --minutes N [--seed S]`: mutates what every reader reads, and prints a table. Exit code 1 when something crashed or took too long. */
import { parseArgs } from 'node:util';
import { fuzz, type FuzzResult } from './fuzz.js';

/** Between looks at the clock. */
const batch = 500;

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } });
const [minutes, seed] = [Number(values.minutes ?? 1), Number(values.seed ?? 1)];
if (!(minutes > 0) || !Number.isSafeInteger(seed)) throw new Error('usage: npm run fuzz -- --minutes N [--seed S]');

const until = performance.now() + minutes * 60_000;
const worker = new URL('./fuzz.worker.js', import.meta.url);
const results: FuzzResult[] = [];
for (let first = 0; performance.now() < until; first += batch)
  results.push(await fuzz({ worker, seed, first, count: batch }));

const targets = [...new Set(results.flatMap(({ counts }) => [...counts.keys()]))];
const rows = targets.map((target) => {
  const all = results.flatMap(({ counts }) => counts.get(target) ?? []);
  const sum = (of: 'read' | 'refused'): number => all.reduce((total, one) => total + one[of], 0);
  const seconds = all.reduce((most, one) => Math.max(most, one.seconds), 0);
  return { target, read: sum('read'), refused: sum('refused'), 'slowest, s': Number(seconds.toFixed(2)) };
});
console.table(rows);
const troubles = results.flatMap((one) => one.troubles);
const total = rows.reduce((sum, { read, refused }) => sum + read + refused, 0) + troubles.length;
console.log(`${total} mutations of seed ${seed}: ${troubles.length} crashed or took too long`);
for (const { number, target, what } of troubles) console.log(`mutation ${number} of ${target}: ${what}`);
if (troubles.length > 0) process.exitCode = 1;
