/** How well the constants carry over to models that they were not fitted on: each family predicted from the others. */
import { isHybrid } from './hybrid-models.js';
import { constantPriors } from './constant-priors.js';
import { stepConstants } from './constants.js';
import { fitStepConstants, logErrors, type TimedRun } from './fit-constants.js';
import { summariseErrors, type RunErrors } from './validate-runs.js';

export interface FamilyLeftOut extends RunErrors {
  readonly family: string;
  readonly moe: boolean;
  /** Relative errors of its runs, with their sign. */
  readonly errors: readonly number[];
}

/** Names of shapes: those with state-space blocks are a family of their own. */
const familyOf = ({ setting: { model } }: TimedRun): string => (isHybrid(model) ? 'nemotron 3' : model.family);

/** Steps of the fit from the constants of all runs. */
const iterations = 6;

/** In the order of the families in the runs. */
export function leaveFamiliesOut(runs: readonly TimedRun[]): FamilyLeftOut[] {
  const families = [...new Set(runs.map(familyOf))];
  return families.map((family) => {
    const others = runs.filter((run) => familyOf(run) !== family);
    const left = runs.filter((run) => familyOf(run) === family);
    const { constants } = fitStepConstants({ runs: others, priors: constantPriors, start: stepConstants, iterations });
    const errors = Array.from(logErrors(left, constants), (error) => Math.expm1(error));
    const moe = left.some(({ setting }) => setting.model.experts > 0);
    return { family, moe, errors, ...summariseErrors(errors) };
  });
}
