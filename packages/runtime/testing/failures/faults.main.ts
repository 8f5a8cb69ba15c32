/**
 * `npm run test:faults [-- --kills N] [--seed S] [--short]`: kills runs at random moments on threads and over MPI,
 * fills disks, takes folders away, stops ranks and sends strangers; then the failures between two hosts. Prints a
 * table; exit code 1 when anything hung, was torn, was left running, or went on with other bits than a run that was
 * never disturbed. Needs root (mount), Open MPI and ss. `--soak STEPS` instead: whether memory grows with the steps;
 * `--large` instead: a checkpoint of 2 GB and a trace of 10^6 spans within bounded memory.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { faultsReport } from './faults.js';
import { largeReport, soakReport } from './long-runs.js';

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const { values } = parseArgs({ options: { kills: text, seed: text, soak: text, short: flag, large: flag } });
const { short, large } = values;
const [kills, seed, steps] = [values.kills ?? (short ? 4 : 100), values.seed ?? 1, values.soak ?? 0].map(Number);
if (![kills, seed, steps].every((value) => Number.isSafeInteger(value) && value >= 0))
  throw new Error('usage: npm run test:faults -- [--kills N] [--seed S] [--short] | --soak STEPS | --large');

async function report(root: string): Promise<string[]> {
  if (large) return largeReport(root);
  if (steps > 0) return soakReport(steps, root);
  return faultsReport({ root, kills, seed });
}

/** Whether the failures between two hosts were as they should be. */
function betweenHosts(): boolean {
  const [script = '', main = ''] = ['../../../../scripts/two-hosts', './main.js'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return spawnSync(script, ['--', process.execPath, main], { stdio: 'inherit' }).status === 0;
}

const root = mkdtempSync(join(tmpdir(), 'monta-faults-'));
try {
  const troubles = await report(root);
  for (const trouble of troubles) console.log(trouble);
  const harmed = !large && steps === 0 && !short;
  if (troubles.length > 0 || (harmed && !betweenHosts())) process.exitCode = 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
