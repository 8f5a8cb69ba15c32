/** What a plan's problem would take on a cluster with one node fewer. */
import { deviceCount } from '../../cluster/index.js';
import { InputError } from '../../units/errors.js';
import { formatInteger } from '../../units/index.js';
import { Search, type Candidate } from '../search/search.js';
import type { StepModel } from '../search/step-model.js';
import type { PlanProblem } from '../space/problem.js';
import { oneNodeFewer, type Sensitivity } from './sensitivity.js';

/** The best plan on one node fewer: another search, since degrees change. Empty where there is one node alone. */
export function fewerNodes(problem: PlanProblem, best: Candidate, stepModel: () => StepModel): Sensitivity[] {
  const cluster = oneNodeFewer(problem.cluster);
  if (cluster === undefined) return [];
  const name = `one node fewer (${formatInteger(deviceCount(cluster))} devices)`;
  const search = new Search({ ...problem, cluster }, stepModel());
  try {
    for (const _ of search.run());
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return [{ name: `${name}, where heads, experts and batch do not divide`, speed: 0, fits: false }];
  }
  const found = search.result.best;
  if (found === undefined) return [{ name, speed: 0, fits: false }];
  return [{ name, speed: best.seconds / found.seconds, fits: true, flipsTo: found.setting }];
}
