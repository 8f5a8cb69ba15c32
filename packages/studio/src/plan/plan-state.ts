/** What the page of plans holds beside its address: dropped files, the last answer, what goes on. */
import { computed, signal } from '@preact/signals';
import { params } from '../base/location.js';
import { shownError, type ShownError } from '../base/shown-error.js';
import { ask, WorkerComplaint } from '../worker/client.js';
import type { PlanAnswer, PlanDetail, PlanProgress } from './answer.js';
import { boundedAxes, type DroppedFile, type PlanFields, usualSubject } from './question.js';

export const files = signal<PlanFields['files']>({});
export const answer = signal<PlanAnswer | undefined>(undefined);
export const progress = signal<PlanProgress | undefined>(undefined);
export const complaint = signal<ShownError | undefined>(undefined);
export const changes = signal<string>('');

/** The plan of the table that is looked at, and what is known of it. */
export const chosen = signal(0);
export const detail = signal<PlanDetail | undefined>(undefined);

const named = ['model', 'cluster', 'sequence', 'batch', 'framework', 'precision', ...boundedAxes] as const;
export type FieldName = (typeof named)[number];

/** The fields as they stand in the address. */
export const fields = computed(
  (): Readonly<Record<FieldName, string>> =>
    Object.fromEntries(
      named.map((name) => [
        name,
        params.value.get(name) ?? (name === 'model' || name === 'cluster' ? usualSubject[name] : ''),
      ]),
    ) as Record<FieldName, string>,
);

/** Whom a complaint is about; files stand for their field. */
export const errorOf = (field: string): ShownError | undefined => {
  const { value } = complaint;
  if (value === undefined) return undefined;
  const { model, cluster } = files.value;
  const own = field === 'model' ? model?.name : field === 'cluster' ? cluster?.name : undefined;
  return value.field === field || (own !== undefined && value.field === own) ? value : undefined;
};

/** A complaint that belongs to no input. */
export const generalError = computed((): ShownError | undefined => {
  const { value } = complaint;
  return value === undefined ||
    [...named, files.value.model?.name, files.value.cluster?.name].includes(value.field ?? '')
    ? undefined
    : value;
});

export function setFile(kind: 'model' | 'cluster', file: DroppedFile | undefined): void {
  const next = { ...files.value };
  if (file === undefined) delete next[kind];
  else next[kind] = file;
  files.value = next;
}

export const complaintOf = (error: unknown): ShownError =>
  error instanceof WorkerComplaint ? error.shown : shownError(error);

let running: AbortController | undefined;

/** Ends the search with the best so far. */
export const stopPlanning = (): void => running?.abort();

/** Plans what the fields say; what was going on is dropped. */
export async function plan(): Promise<void> {
  running?.abort();
  const own = new AbortController();
  running = own;
  complaint.value = undefined;
  changes.value = '';
  progress.value = { done: 0, bestSeconds: undefined };
  try {
    const found = await ask(
      'plan',
      { fields: fields.value, files: files.value },
      { signal: own.signal, onProgress: (value) => running === own && (progress.value = value) },
    );
    if (running !== own) return;
    answer.value = found;
    progress.value = undefined;
    await look(0);
    const what = await ask('changes', {});
    if (running === own) changes.value = what;
  } catch (error) {
    if (running !== own) return;
    complaint.value = complaintOf(error);
    answer.value = undefined;
    detail.value = undefined;
  } finally {
    if (running === own) progress.value = undefined;
  }
}

/** Shows what is known of one plan of the table. */
export async function look(index: number): Promise<void> {
  chosen.value = index;
  detail.value = await ask('detail', { index });
}
