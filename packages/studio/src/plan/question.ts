/** What a person asks on the page of plans, from the fields that the address holds. */
import {
  type AxisName,
  type Bounds,
  type Cluster,
  type ComputePrecision,
  computePrecisions,
  type FrameworkName,
  frameworkNames,
  getCluster,
  getModel,
  InputError,
  limits,
  type MoeModel,
  parseAllowed,
  parseCount,
  planProblem,
  type PlanProblem,
  readCluster,
  readModel,
} from '@monta/core';
import { about } from '../base/shown-error.js';

/** A file that was dropped: its text never leaves the page. */
export interface DroppedFile {
  readonly name: string;
  readonly text: string;
}

/** Fields by name, as typed; files that stand for a model or a cluster. */
export interface PlanFields {
  readonly fields: Readonly<Record<string, string>>;
  readonly files: { readonly model?: DroppedFile; readonly cluster?: DroppedFile };
}

/** What is asked where nothing is given. */
export const usualSubject = { model: 'deepseek-v3', cluster: 'h800-256x8' } as const;

/** Degrees that can be fixed or bounded. */
export const boundedAxes = ['tp', 'cp', 'pp', 'dp', 'ep', 'etp'] as const satisfies readonly AxisName[];

export interface AskedPlan {
  readonly problem: PlanProblem;
  /** As the person named them, for the plan's file. */
  readonly names: { readonly model: string; readonly cluster: string };
}

const given = (text: string | undefined): string | undefined => {
  const trimmed = text?.trim() ?? '';
  return trimmed === '' ? undefined : trimmed;
};

function count(field: string, text: string | undefined, most: number): number | undefined {
  const written = given(text);
  return written === undefined ? undefined : about(field, () => atMost(parseCount(written), most));
}

function atMost(value: number, most: number): number {
  if (value < 1 || value > most) throw new InputError(`${value} is out of range`, { expected: `from 1 to ${most}` });
  return value;
}

function oneOf<T extends string>(field: string, text: string | undefined, values: readonly T[]): T | undefined {
  const written = given(text);
  if (written === undefined) return undefined;
  const value = values.find((one) => one === written);
  if (value === undefined)
    throw new InputError(`"${written}" is not known`, { file: field, expected: `one of ${values.join(', ')}` });
  return value;
}

/** Model and cluster: a preset's name, or the dropped file. Throws `InputError` that names its field. */
export function readSubject({ fields, files }: PlanFields): {
  readonly model: MoeModel;
  readonly cluster: Cluster;
  readonly names: AskedPlan['names'];
} {
  const model = given(fields['model']) ?? usualSubject.model;
  const cluster = given(fields['cluster']) ?? usualSubject.cluster;
  const { model: modelFile, cluster: clusterFile } = files;
  return {
    model: about('model', () =>
      modelFile === undefined ? getModel(model) : readModel(modelFile.text, modelFile.name),
    ),
    cluster: about('cluster', () =>
      clusterFile === undefined ? getCluster(cluster) : readCluster(clusterFile.text, clusterFile.name),
    ),
    names: { model: modelFile?.name ?? model, cluster: clusterFile?.name ?? cluster },
  };
}

/** The problem that the fields pose. Throws `InputError` that names the field. */
export function readQuestion(asked: PlanFields): AskedPlan {
  const { model, cluster, names } = readSubject(asked);
  const { fields } = asked;
  const bounds: Bounds = Object.fromEntries(
    boundedAxes.flatMap((axis) => {
      const written = given(fields[axis]);
      return written === undefined ? [] : [[axis, about(axis, () => parseAllowed(written))]];
    }),
  );
  return {
    names,
    problem: planProblem({
      model,
      cluster,
      sequence: count('sequence', fields['sequence'], limits.tokens),
      globalBatch: count('batch', fields['batch'], limits.sequences),
      framework: oneOf<FrameworkName>('framework', fields['framework'], frameworkNames),
      precision: oneOf<ComputePrecision>('precision', fields['precision'], computePrecisions),
      bounds,
    }),
  };
}
