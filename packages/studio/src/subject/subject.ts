/** Model and cluster that are asked about: presets by their names, or files that were dropped. */
import { type Cluster, getCluster, getModel, type MoeModel } from '@monta/core';
import { about } from '../base/shown-error.js';
import { type DroppedFile, type Evidence, given } from './given.js';

/** Files that stand for a model or a cluster, and logs of nccl-tests on that cluster. */
export interface SubjectFiles {
  readonly model?: DroppedFile;
  readonly cluster?: DroppedFile;
  readonly logs?: readonly DroppedFile[];
}

/** Fields by name, as typed, and files. */
export interface SubjectFields {
  readonly fields: Readonly<Record<string, string>>;
  readonly files: SubjectFiles;
}

/** What is asked where nothing is given. */
export const usualSubject = { model: 'deepseek-v3', cluster: 'h800-256x8' } as const;

export interface Subject {
  readonly model: MoeModel;
  readonly cluster: Cluster;
  /** As the person named them, for the plan's file. */
  readonly names: { readonly model: string; readonly cluster: string };
  /** Of a topology or logs that were dropped. */
  readonly evidence?: Evidence;
}

/** Reads both. What reads files is loaded with the first one. Throws `InputError` that names its field. */
export async function readSubject({ fields, files }: SubjectFields): Promise<Subject> {
  const names = {
    model: files.model?.name ?? given(fields['model']) ?? usualSubject.model,
    cluster: files.cluster?.name ?? given(fields['cluster']) ?? usualSubject.cluster,
  };
  const { model: modelFile, cluster: clusterFile, logs = [] } = files;
  if (modelFile === undefined && clusterFile === undefined && logs.length === 0)
    return {
      model: about('model', () => getModel(names.model)),
      cluster: about('cluster', () => getCluster(names.cluster)),
      names,
    };
  const read = await import('./dropped-subject.js');
  const model = about('model', () => (modelFile === undefined ? getModel(names.model) : read.modelOfFile(modelFile)));
  const named = about('cluster', () =>
    clusterFile === undefined ? { cluster: getCluster(names.cluster) } : read.clusterOfFile(clusterFile, fields),
  );
  const evidence = about('cluster', () => read.evidenceOf(named, logs));
  return { model, cluster: named.cluster, names, ...(evidence === undefined ? {} : { evidence }) };
}
