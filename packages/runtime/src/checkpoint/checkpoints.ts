/**
 * The checkpoints of a run: step folders in one folder; which are there, which is the last that can be used, which may
 * go.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '@monta/core/units';
import type { Disk } from '../files/disk.js';
import { manifestName } from './manifest.js';
import { removeFolder } from './saved-folder.js';
import { stepFolderName, stepOfFolder } from './training-state.js';
import { TrainingStateFolder } from './training-state-reader.js';

/** Steps with a folder in `folder`, ascending; their content is not looked at. */
export function listSteps(folder: string): number[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => stepOfFolder(name) ?? [])
    .sort((a, b) => a - b);
}

/** Those that have a manifest. */
export const completeSteps = (folder: string): number[] =>
  listSteps(folder).filter((step) => existsSync(join(folder, stepFolderName(step), manifestName)));

/**
 * Of the steps up to `current` removes all but the last `keep`. Later ones (damaged, until the run has got there again)
 * stay.
 */
export function pruneSteps(folder: string, current: number, keep: number, disk?: Disk): void {
  const steps = listSteps(folder).filter((step) => step <= current);
  for (const step of steps.slice(0, Math.max(0, steps.length - Math.max(1, keep))))
    removeFolder(join(folder, stepFolderName(step)), disk);
}

/** How often a folder is looked at again whose states go while they are read. */
const mostAttempts = 10;

export interface LatestState {
  /** Of the step folder. */
  readonly path: string;
  readonly step: number;
  /** Why later ones were passed over. */
  readonly skipped: readonly string[];
}

/**
 * The last state in a folder that is complete and undamaged (everything is read and compared with its digests);
 * undefined when the folder holds no states. Throws InputError when it holds some and none can be used.
 */
export function latestState(folder: string, attempts = mostAttempts): LatestState | undefined {
  const skipped: string[] = [];
  const steps = listSteps(folder);
  for (const step of steps.reverse()) {
    const path = join(folder, stepFolderName(step));
    try {
      TrainingStateFolder.open(path).close();
      return { path, step, skipped };
    } catch (error) {
      // A run that still goes on has removed it for a newer one.
      if (!existsSync(path) && attempts > 1) return latestState(folder, attempts - 1);
      if (!(error instanceof InputError)) throw error;
      skipped.push(`${stepFolderName(step)} is passed over: ${error.format().split('\n').join(' ')}`);
    }
  }
  if (steps.length === 0) return undefined;
  throw new InputError(`none of its ${steps.length} checkpoints can be used`, {
    file: folder,
    hint: skipped.join('; '),
  });
}
