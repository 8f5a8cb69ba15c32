/**
 * `npm run test:faults [-- --kills N] [--seed S] [--short]`: kills runs at random moments on threads and over MPI,
 * fills disks, takes folders away, stops ranks and sends strangers; then the failures between two hosts. Prints a
 * table; exit code 1 when anything hung, was torn, was left running, or went on with other bits than a run that was
 * never disturbed. Needs root (mount), Open MPI and ss.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from '@monta/core';
import { harms } from './harms.js';
import { killOnce, lastBits, type Outcome } from './kills.js';
import { runProcess, type Backend } from './run-process.js';
import { smallJob, smallText } from './small-job.js';

const { values } = parseArgs({
  options: { kills: { type: 'string' }, seed: { type: 'string' }, short: { type: 'boolean' } },
});
const short = values.short === true;
const [kills, seed] = [Number(values.kills ?? (short ? 4 : 100)), Number(values.seed ?? 1)];
if (!Number.isSafeInteger(kills) || kills < 0 || !Number.isSafeInteger(seed))
  throw new Error('usage: npm run test:faults -- [--kills N] [--seed S] [--short]');
/** Runs at a time: they mostly wait. */
const together = 3;

const root = mkdtempSync(join(tmpdir(), 'monta-faults-'));
const text = join(root, 'text.txt');
writeFileSync(text, smallText);
const rows: {
  fault: string;
  backend: string;
  runs: number;
  hung: number;
  torn: number;
  left: number;
  unequal: number;
  'slowest, s': number;
}[] = [];
const troubles: string[] = [];
const begin = performance.now();

function note(fault: string, backend: string, outcomes: readonly Outcome[]): void {
  const count = (of: (outcome: Outcome) => boolean): number => outcomes.filter(of).length;
  console.error(`${((performance.now() - begin) / 1000).toFixed(0)} s: ${fault}, ${backend}`);
  rows.push({
    fault,
    backend,
    runs: outcomes.length,
    hung: count(({ hung }) => hung),
    torn: count(({ torn }) => torn),
    left: count(({ left }) => left),
    unequal: count(({ equal }) => !equal),
    'slowest, s': Number(outcomes.reduce((most, { seconds }) => Math.max(most, seconds), 0).toFixed(1)),
  });
  for (const { hung, torn, left, equal, trouble } of outcomes)
    if (hung || torn || left || !equal || trouble !== undefined)
      troubles.push(`${fault}, ${backend}: ${JSON.stringify({ hung, torn, left, equal, trouble })}`);
}

const failed = (error: unknown): Outcome => ({
  hung: false,
  torn: false,
  left: false,
  equal: false,
  trouble: error instanceof Error ? error.message : String(error),
  seconds: 0,
});

/** Bits and seconds of a run that nothing disturbs. */
async function undisturbed(backend: Backend): Promise<{ bits: string; seconds: number }> {
  const folder = join(root, `undisturbed-${backend}`);
  const { code, errors, seconds } = await runProcess(backend, smallJob(text, folder));
  if (code !== 0) throw new Error(`a run that nothing disturbs failed: ${errors}`);
  return { bits: lastBits(folder), seconds };
}

try {
  const alone = { local: await undisturbed('local'), mpi: await undisturbed('mpi') };
  for (const backend of ['local', 'mpi'] as const) {
    const own = Math.ceil(kills / 2);
    const outcomes: Outcome[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let number = next++; number < own; number = next++) {
        const random = new Random(seed, number * 2 + (backend === 'mpi' ? 1 : 0));
        const job = smallJob(text, join(root, `${backend}-${number}`), 2);
        outcomes.push(await killOnce(backend, job, { random, ...alone[backend] }));
      }
    };
    await Promise.all(Array.from({ length: together }, worker));
    note('killed at a random moment', backend, outcomes);
  }
  for (const { name, backend, run } of harms) {
    const job = smallJob(text, join(root, name.replaceAll(' ', '-')), 2);
    note(name, backend, [await run(job, alone[backend].bits).catch(failed)]);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
console.table(rows);
for (const trouble of troubles) console.log(trouble);
if (troubles.length > 0) process.exitCode = 1;

if (!short) {
  const [script, main] = ['../../../../scripts/two-hosts', './main.js'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  ) as [string, string];
  const { status } = spawnSync(script, ['--', process.execPath, main], { stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
