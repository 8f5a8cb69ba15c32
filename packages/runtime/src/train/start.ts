/** Where a run starts: seeded weights, a training state of this or another layout, or the weights of a model folder. */
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError, appendAll } from '@monta/core/units';
import { formatLayout } from '@monta/core/layout';
import {
  checkSameModel,
  cleanLeftovers,
  HuggingFaceFolder,
  jobRecord,
  latestState,
  listSteps,
  loadShards,
  looksLikeState,
  stepFolderName,
  stepOfFolder,
  TrainingStateFolder,
  type TrainingState,
} from '../checkpoint/index.js';
import { initialiseParameters, type ParameterStore } from '../execute/index.js';
import type { TrainJob } from './job.js';
import { sequencesPerStep } from './save.js';

export interface TrainStart {
  /** Steps done before. */
  readonly step: number;
  /** Folder whose weights are loaded; absent: seeded weights. */
  readonly path?: string;
  /**
   * What is worth knowing: damaged checkpoints passed over, leftovers removed, what the run does otherwise than before.
   */
  readonly notes: readonly string[];
}

/**
 * Looks before the ranks start: cleans up what a killed run left in the folder of checkpoints, finds and verifies what
 * to start from, and says it in the job (`resume` is then a folder that can be used, or absent). One process does it
 * for all ranks. Throws InputError when there is nothing usable, when it is another model's, or when saving would mix
 * two runs in one folder.
 */
export function prepareStart(asked: TrainJob): { readonly job: TrainJob; readonly start: TrainStart } {
  const { resume, checkpoint, ...rest } = asked;
  const plan = checkpoint && { ...checkpoint, folder: resolve(checkpoint.folder) };
  const job: TrainJob = plan === undefined ? rest : { ...rest, checkpoint: plan };
  if (plan !== undefined) checkPlan(plan.every, plan.keep);
  const notes = plan === undefined ? [] : removeLeftovers(plan.folder, true);
  if (resume !== undefined && resume !== 'latest') appendAll(notes, removeLeftovers(checkpointsAt(resume), false));
  if (resume === undefined) {
    if (plan !== undefined) refuseLater(plan.folder, 0, 'starts from the beginning');
    return { job, start: { step: 0, notes } };
  }
  const found = findStart(resume, plan?.folder, notes);
  if (found === undefined) {
    notes.push(`there is no checkpoint in ${plan?.folder ?? ''} yet: starting from the beginning`);
    return { job, start: { step: 0, notes } };
  }
  if (!looksLikeState(found)) {
    const folder = HuggingFaceFolder.open(found);
    folder.close();
    checkSameModel(folder.model, job.step.model, found);
    if (plan !== undefined) refuseLater(plan.folder, 0, `starts from ${found}`);
    return { job: { ...job, resume: found }, start: { step: 0, path: found, notes } };
  }
  const { state } = withState(found, (folder) => folder);
  checkSameModel(state.model, job.step.model, found);
  if (state.step >= job.steps)
    throw new InputError(`has ${state.step} steps done`, {
      file: found,
      expected: `fewer than the run's ${job.steps}`,
    });
  if (plan !== undefined && resume !== 'latest')
    refuseLater(plan.folder, state.step, `resumes from step ${state.step}`);
  appendAll(notes, differences(state, job));
  return { job: { ...job, resume: found }, start: { step: state.step, path: found, notes } };
}

/** The folder of checkpoints that a person named, or that a step folder that they named lies in. */
const checkpointsAt = (resume: string): string =>
  stepOfFolder(basename(resolve(resume))) === undefined ? resolve(resume) : dirname(resolve(resume));

/** Where this run only reads, what cannot be removed stays. */
function removeLeftovers(folder: string, own: boolean): string[] {
  try {
    return cleanLeftovers(folder, own).map((name) => `removed ${name}, left by a run that was stopped`);
  } catch (error) {
    if (own) throw error;
    return [];
  }
}

/**
 * Fills the weights, and moments where there are any, of one rank; returns the steps done. For a job that
 * `prepareStart` returned.
 */
export function loadStart(job: TrainJob, store: ParameterStore): number {
  const { resume } = job;
  if (resume === undefined) {
    initialiseParameters(store, job.seed);
    return 0;
  }
  if (!existsSync(resume))
    throw new InputError('is gone: a run that still goes on has removed it for a newer one', {
      file: resume,
      expected: 'a checkpoint that stays',
      hint: 'resume again, or copy the checkpoint elsewhere and resume from there',
    });
  if (looksLikeState(resume))
    return withState(
      resume,
      (folder) => {
        loadShards(store, folder);
        return folder.state.step;
      },
      false,
    );
  const folder = HuggingFaceFolder.open(resume, { verify: false });
  try {
    loadShards(store, folder);
  } finally {
    folder.close();
  }
  return 0;
}

function withState<T>(path: string, use: (folder: TrainingStateFolder) => T, verify = true): T {
  const folder = TrainingStateFolder.open(path, { verify });
  try {
    return use(folder);
  } finally {
    folder.close();
  }
}

function checkPlan(every: number, keep: number): void {
  if (!Number.isSafeInteger(every) || every < 0)
    throw new InputError(`${every} is not a number of steps`, { path: 'checkpoint.every', expected: 'at least 0' });
  if (!Number.isSafeInteger(keep) || keep < 1)
    throw new InputError(`${keep} checkpoints can't be kept`, { path: 'checkpoint.keep', expected: 'at least 1' });
}

/** The folder to start from; undefined when `latest` finds none. */
function findStart(resume: string, folder: string | undefined, notes: string[]): string | undefined {
  if (resume === 'latest' && folder === undefined)
    throw new InputError('resume: latest, but the run saves nothing', {
      path: 'resume',
      expected: 'checkpoint.folder',
    });
  const where = resume === 'latest' ? (folder ?? '') : resolve(resume);
  if (resume !== 'latest' && (looksLikeState(where) || existsSync(join(where, 'config.json')))) return where;
  const latest = latestState(where);
  appendAll(notes, latest?.skipped ?? []);
  if (latest === undefined && resume !== 'latest')
    throw new InputError('there is nothing to resume from', {
      file: where,
      expected: `a step folder like ${stepFolderName(100)}, a folder of such, or a Hugging Face model folder`,
    });
  return latest?.path;
}

/** Later steps in the folder are of another run: the two would be mixed up at the next resume. */
function refuseLater(folder: string, step: number, what: string): void {
  const later = listSteps(folder).filter((one) => one > step);
  if (later.length > 0)
    throw new InputError(`holds checkpoints up to ${stepFolderName(later[later.length - 1])}, but the run ${what}`, {
      file: folder,
      expected: 'no later checkpoints than where the run starts',
      hint: 'resume from the latest, or save to another folder',
    });
}

/** What a resumed run does otherwise than before, each worth a line. */
function differences(state: TrainingState, job: TrainJob): string[] {
  const notes: string[] = [];
  const note = (what: string, before: unknown, now: unknown): void => {
    const [a, b] = [before, now].map((value) =>
      value === Infinity ? 'Infinity' : (JSON.stringify(value) ?? 'nothing'),
    );
    if (a !== b) notes.push(`${what} was ${a}, now ${b}`);
  };
  const before = formatLayout(state.layout);
  const now = formatLayout(job.step.layout);
  if (before !== now)
    notes.push(`layout was ${before}, now ${now}: sums are taken in another order, the numbers agree but for rounding`);
  note('text', basename(state.data?.text ?? ''), basename(job.text));
  note('seed', state.data?.seed, job.seed);
  note('sequence', state.data?.sequence, job.step.sequence);
  note('sequences per step', state.data?.sequencesPerStep, sequencesPerStep(job));
  const [was, is] = [state.job, jobRecord(job)];
  note('capacityFactor', was?.step.capacityFactor, is.step.capacityFactor);
  note('selectionBiasRate', was?.step.selectionBiasRate, is.step.selectionBiasRate);
  note('payload', was?.step.payload, is.step.payload);
  note('steps', was?.steps, is.steps);
  for (const key of Object.keys(is.optimizer) as (keyof typeof is.optimizer)[])
    note(`optimizer.${key}`, was?.optimizer[key], is.optimizer[key]);
  return notes;
}
