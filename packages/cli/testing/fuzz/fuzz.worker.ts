/** Reads mutated files one after another; the thread that started it watches how long each takes. */
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { Random } from '@monta/core';
import { mutate } from './mutate.js';
import { makeTargets } from './targets.js';

export interface FuzzJob {
  readonly seed: number;
  readonly first: number;
  readonly end: number;
}

export type FuzzNote =
  /** Where the system says how long this thread has computed. */
  | { readonly kind: 'thread'; readonly schedule: string }
  | { readonly kind: 'begins'; readonly number: number; readonly target: string; readonly computed: number }
  | { readonly kind: 'ended'; readonly number: number; readonly how: 'read' | 'refused'; readonly computed: number }
  | { readonly kind: 'crashed'; readonly number: number; readonly error: string };

const { seed, first, end } = workerData as FuzzJob;
const tell = (note: FuzzNote): void => parentPort?.postMessage(note);
/** Where the system says how long this thread has computed. */
const schedule = join('/proc', readlinkSync('/proc/thread-self'), 'schedstat');
/** Seconds that this thread has computed. */
const computed = (): number => Number(readFileSync(schedule, 'latin1').split(' ')[0]) / 1e9;
const folder = mkdtempSync(join(tmpdir(), 'monta-fuzz-'));
const place = join(folder, 'case');

/** A target with one of its files mutated; the others are links to the sample's. */
function prepare(sample: string, random: Random): string {
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place);
  const path = join(place, basename(sample));
  if (!statSync(sample).isDirectory()) {
    writeFileSync(path, mutate(readFileSync(sample), random));
    return path;
  }
  mkdirSync(path);
  const inside = readdirSync(sample);
  const changed = inside[random.integer(inside.length)];
  for (const name of inside) {
    if (name === changed) writeFileSync(join(path, name), mutate(readFileSync(join(sample, name)), random));
    else linkSync(join(sample, name), join(path, name));
  }
  return path;
}

try {
  tell({ kind: 'thread', schedule });
  const targets = makeTargets(folder);
  // A sample that is refused as it is would find nothing.
  for (const { sample, read } of targets) await read(sample);
  for (let number = first; number < end; number++) {
    const random = new Random(seed, number);
    const { name, sample, read } = targets[number % targets.length];
    const path = prepare(sample, random);
    tell({ kind: 'begins', number, target: name, computed: computed() });
    try {
      await read(path);
      tell({ kind: 'ended', number, how: 'read', computed: computed() });
    } catch (error) {
      const expected = error instanceof Error && 'exitCode' in error && error.exitCode === 2;
      if (expected) tell({ kind: 'ended', number, how: 'refused', computed: computed() });
      else
        tell({
          kind: 'crashed',
          number,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
