/** Where no plan fits: the least that one needs, and what is near and fits. */
import type { Cluster } from '../../cluster/cluster.js';
import { deviceCount } from '../../cluster/ports.js';
import { InputError } from '../../units/errors.js';
import type { PlanProblem } from '../space/problem.js';
import { Search, type Candidate } from '../search/search.js';
import type { StepModel } from '../search/step-model.js';
import { twiceTheNodes } from './sensitivity.js';

export interface NearestPlan {
  /** What was changed. */
  readonly change: 'nothing is fixed' | 'more devices';
  readonly cluster: Cluster;
  readonly best: Candidate;
}

const mostDevices = 16_384;

/** The first plan that fits: with nothing fixed, then on twice as many nodes and so on. Undefined where none does. */
export function nearestPlan(problem: PlanProblem, model: () => StepModel): NearestPlan | undefined {
  const free: PlanProblem = { ...problem, bounds: {}, fixed: {} };
  const own = anyPlan(free, model());
  if (own !== undefined) return { change: 'nothing is fixed', cluster: problem.cluster, best: own };
  for (
    let cluster = twiceTheNodes(problem.cluster);
    cluster !== undefined && deviceCount(cluster) <= mostDevices;
    cluster = twiceTheNodes(cluster)
  ) {
    const globalBatch = Math.max(problem.globalBatch, deviceCount(cluster));
    const best = anyPlan({ ...free, cluster, globalBatch }, model());
    if (best !== undefined) return { change: 'more devices', cluster, best };
  }
  return undefined;
}

/** A plan that fits, not the fastest. */
function anyPlan(problem: PlanProblem, model: StepModel): Candidate | undefined {
  const search = new Search(problem, model);
  try {
    for (const { best } of search.run()) if (best !== undefined) return best;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
  return search.result.best;
}
