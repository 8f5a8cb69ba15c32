/** What the page of plans holds beside its address: dropped files, the last answer, what goes on. */
import { computed, signal } from '@preact/signals';
import { params } from '../base/location.js';
import { shownError, type ShownError } from '../base/shown-error.js';
import { ask, WorkerComplaint } from '../worker/client.js';
import type { PlanAnswer, PlanDetail, PlanProgress } from './answer.js';
import type { DroppedFile } from '../subject/given.js';
import { type SubjectFiles, usualSubject } from '../subject/subject.js';
import { boundedAxes } from './question.js';

export const files = signal<SubjectFiles>({});
export const answer = signal<PlanAnswer | undefined>(undefined);
export const progress = signal<PlanProgress | undefined>(undefined);
export const complaint = signal<ShownError | undefined>(undefined);
export const changes = signal<string>('');

/** The plan of the table that is looked at, and what is known of it. */
export const chosen = signal(0);
export const detail = signal<PlanDetail | undefined>(undefined);

const named = [
  'model',
  'cluster',
  'nodes',
  'gpu',
  'sequence',
  'batch',
  'framework',
  'precision',
  ...boundedAxes,
] as const;
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

/** The complaint about an input, if there is one. */
export const errorOf = (field: string): ShownError | undefined =>
  complaint.value?.field === field ? complaint.value : undefined;

/** A complaint that belongs to no input. */
export const generalError = computed((): ShownError | undefined => {
  const { value } = complaint;
  return named.some((name) => name === value?.field) ? undefined : value;
});

/** Puts a file in the place of a model or a cluster, or the name in the place of the file again. */
export function setFile(kind: 'model' | 'cluster', file: DroppedFile | undefined): void {
  const { [kind]: _, ...others } = files.value;
  files.value = file === undefined ? others : { ...others, [kind]: file };
}

export const addLog = (log: DroppedFile): void => {
  const { logs = [] } = files.value;
  files.value = { ...files.value, logs: [...logs.filter(({ name }) => name !== log.name), log] };
};

export const removeLog = (name: string): void => {
  files.value = { ...files.value, logs: (files.value.logs ?? []).filter((log) => log.name !== name) };
};

/** Whether the cluster is a file that says nothing of tiers: the topology of one node. */
export const asksForNodes = computed(
  (): boolean => files.value.cluster !== undefined && !/\btiers\b/u.test(files.value.cluster.text),
);

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
