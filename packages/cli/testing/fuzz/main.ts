/**
 * `npm run fuzz -- --minutes N | --mutations N [--first N] [--seed S]`: mutates what every reader reads, and prints a
 * table. Exit code 1 when something crashed or took too long.
 */
import { parseArgs } from 'node:util';
import { fuzz, type FuzzResult } from './fuzz.js';

/** Between looks at the clock. */
const batch = 500;

const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { minutes: text, mutations: text, first: text, seed: text } });
const given = (name: keyof typeof values, otherwise: number): number => Number(values[name] ?? otherwise);
const mutations = given('mutations', Number.MAX_SAFE_INTEGER);
const minutes = given('minutes', values.mutations === undefined ? 1 : Infinity);
const [start, seed] = [given('first', 0), given('seed', 1)];
if (!(minutes > 0) || ![mutations, start, seed].every((value) => Number.isSafeInteger(value) && value >= 0))
  throw new Error('usage: npm run fuzz -- --minutes N | --mutations N [--first N] [--seed S]');

const until = performance.now() + minutes * 60_000;
const end = Math.min(Number.MAX_SAFE_INTEGER, start + mutations);
const worker = new URL('./fuzz.worker.js', import.meta.url);
const results: FuzzResult[] = [];
for (let first = start; first < end && performance.now() < until; first += batch)
  results.push(await fuzz({ worker, seed, first, count: Math.min(batch, end - first) }));

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
