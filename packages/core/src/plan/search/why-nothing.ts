/** Why a space has no settings: a value that somebody fixed and no point of it has, or why there are no points. */
import { InputError } from '../../units/errors.js';
import { isRecord } from '../../units/record.js';
import { legalLayouts, whyEmpty } from '../space/climb.js';
import type { PlanProblem } from '../space/problem.js';
import { SharedOptions } from './shared-options.js';

type Fixed = PlanProblem['fixed'];

/** What else a person may fix. */
const expected: Readonly<Partial<Record<keyof Fixed, string>>> = {
  weightShards:
    'shards that divide dp, those of experts edp, beside a distributed optimizer and products in bf16 or fp8',
  hostStates: 'a device whose port to its host is known, and a framework that can',
  schedule: 'a schedule that goes with the stages and micro-batches',
};

const written = (value: unknown): string =>
  isRecord(value)
    ? Object.entries(value)
        .map(([name, one]) => `${name}=${String(one)}`)
        .join(',')
    : String(value);

function hasSettings(problem: PlanProblem): boolean {
  const shared = new SharedOptions(problem);
  return legalLayouts(problem).some((layout) => shared.of(layout).settings > 0);
}

export function whyNothing(problem: PlanProblem): InputError {
  for (const path of Object.keys(problem.fixed) as (keyof Fixed)[]) {
    const { [path]: value, ...fixed } = problem.fixed;
    if (hasSettings({ ...problem, fixed }))
      return new InputError(
        `no layout of ${problem.model.name} on ${problem.cluster.name} has ${path} ${written(value)}`,
        {
          path,
          expected: expected[path] ?? 'another value, or none',
        },
      );
  }
  return whyEmpty(problem);
}
