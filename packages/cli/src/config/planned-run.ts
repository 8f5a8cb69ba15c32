/** A searched plan as what `monta train` and `monta simulate` take, as far as they can do what it says. */
import type { PlanDocument, Strategy } from '@monta/core';
import { InputError } from '@monta/core/units';
import { parseLayout } from '@monta/core/layout';
import { parseDispatch } from '@monta/core/schedule';
import { readPlan } from '@monta/core/plan/document';
import { readTextFile } from '../files.js';

const refuse = (file: string, path: string, message: string, expected: string): InputError =>
  new InputError(message, { file, path, expected, hint: 'monta plan --framework monta searches what runs here' });

/** Throws `InputError` for layouts whose programs are of one stage and one slice of a sequence. */
function refuseStages(file: string, plan: PlanDocument): void {
  const { pp, cp } = parseLayout(plan.layout);
  if (pp > 1) throw refuse(file, 'layout', `${pp} stages of a pipeline are not run here`, 'pp=1');
  if (cp > 1) throw refuse(file, 'layout', `context parallelism over ${cp} ranks is not run here`, 'cp=1');
}

export interface PlannedTraining {
  readonly model: string;
  readonly cluster: string;
  readonly layout: string;
  readonly dispatch: string;
  readonly sequence: number;
  readonly batch: number;
  readonly microBatch: number;
}

/** What a plan says of a training run. Throws `InputError` for what the embedded runtime does not do. */
export function plannedTraining(file: string): PlannedTraining {
  const plan = readPlan(readTextFile(file), file);
  refuseStages(file, plan);
  if (plan.recompute !== 'none')
    throw refuse(file, 'recompute', 'recomputation is not run here: a pass keeps what its backward needs', 'none');
  const { dp } = parseLayout(plan.layout);
  if (plan.sharing !== 'none' && dp > 1)
    throw refuse(file, 'sharing', `${plan.sharing} is not run here: every rank keeps all states`, 'none');
  const { model, cluster, layout, dispatch, sequence, globalBatch, sequences } = plan;
  return { model, cluster, layout, dispatch, sequence, batch: globalBatch, microBatch: sequences };
}

export interface PlannedSubject {
  readonly model: string;
  readonly cluster: string;
  readonly layout: string;
  readonly dispatch: Strategy | 'auto';
  readonly sequence: number;
  readonly sequences: number;
  readonly microBatches: number;
}

/** What a plan says of a program to simulate. Throws `InputError`. */
export function plannedSubject(file: string): PlannedSubject {
  const plan = readPlan(readTextFile(file), file);
  refuseStages(file, plan);
  const { model, cluster, layout, sequence, sequences, microBatches } = plan;
  return { model, cluster, layout, dispatch: parseDispatch(plan.dispatch), sequence, sequences, microBatches };
}
