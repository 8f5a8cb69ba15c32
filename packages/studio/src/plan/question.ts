/** What a person asks on the page of plans, from the fields that the address holds. */
import {
  type AxisName,
  type Bounds,
  type ComputePrecision,
  computePrecisions,
  countUpTo,
  type FrameworkName,
  frameworkNames,
  InputError,
  limits,
  parseAllowed,
  planProblem,
  type PlanProblem,
} from '@monta/core';
import { about } from '../base/shown-error.js';
import { given } from '../subject/given.js';
import type { Subject, SubjectFields } from '../subject/subject.js';

/** Degrees that can be fixed or bounded. */
export const boundedAxes = ['tp', 'cp', 'pp', 'dp', 'ep', 'etp'] as const satisfies readonly AxisName[];

export interface AskedPlan {
  readonly problem: PlanProblem;
  /** As the person named them, for the plan's file. */
  readonly names: Subject['names'];
}

function count(field: string, text: string | undefined, most: number): number | undefined {
  const written = given(text);
  return written === undefined ? undefined : about(field, () => countUpTo(most)(written));
}

function oneOf<T extends string>(field: string, text: string | undefined, values: readonly T[]): T | undefined {
  const written = given(text);
  if (written === undefined) return undefined;
  const value = values.find((one) => one === written);
  if (value === undefined)
    throw new InputError(`"${written}" is not known`, { file: field, expected: `one of ${values.join(', ')}` });
  return value;
}

/** The problem that the fields pose. Throws `InputError` that names the field. */
export function readQuestion({ fields }: SubjectFields, { model, cluster, names }: Subject): AskedPlan {
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
