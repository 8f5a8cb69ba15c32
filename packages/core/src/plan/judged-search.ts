/**
 * The search of a plan by simulation: the closed form at the prices of the simulation ranks, and the simulator judges
 * the best of it.
 */
import { simulationConstants, type RunSetting } from '../estimate/index.js';
import { Search, type Candidate, type SearchResult } from './search/search.js';
import { EstimateModel } from './search/step-model.js';
import { simulateSetting } from './simulated-setting.js';
import { limitsOf } from './space/frameworks.js';
import type { PlanProblem } from './space/problem.js';

/** A search of the plans that can be simulated for as many as are to be judged, fastest first (`result.fastest`). */
export const searchToJudge = (problem: PlanProblem, count: number): Search =>
  new Search({ ...problem, programs: true, stack: 'eager' }, new EstimateModel(simulationConstants), count);

/**
 * So many plans to judge of those that a search found. Behind one whose tokens cross once a domain comes the same with
 * tokens that cross once an expert: the closed form finds that no faster, and leaves it out, the simulator may differ.
 * Both count: where every plan has experts' rows to exchange, half as many layouts are looked at.
 */
export function plansToJudge(problem: PlanProblem, { fastest }: SearchResult, count: number): Candidate[] {
  const { fixed, programs: _, ...limits } = problem;
  const { dispatchers } = limitsOf({ ...limits, programs: true });
  const both = fixed.dispatcher === undefined && dispatchers.includes('all_to_all');
  const plain = (plan: Candidate): Candidate => ({ ...plan, setting: { ...plan.setting, dispatcher: 'all_to_all' } });
  return fastest
    .flatMap((plan) => (both && plan.setting.dispatcher === 'deduplicated' ? [plan, plain(plan)] : [plan]))
    .slice(0, count);
}

/** Plans with what the estimate of published runs says of them, by which they are in order. */
export function estimatedAnew({ stack }: PlanProblem, plans: readonly Candidate[]): Candidate[] {
  const model = new EstimateModel();
  return plans
    .map(({ setting, memoryBytes }): Candidate => {
      const asked = { ...setting, stack };
      return { setting: asked, seconds: model.seconds(asked), memoryBytes };
    })
    .sort((a, b) => a.seconds - b.seconds);
}

export interface SimulatedPlan {
  readonly setting: RunSetting;
  readonly seconds: number;
}

/** Those that fit and have a program, each simulated in one, fastest first. */
export function simulatedPlans(problem: PlanProblem, settings: Iterable<RunSetting>): SimulatedPlan[] {
  const memory = new EstimateModel();
  const found: SimulatedPlan[] = [];
  for (const setting of settings) {
    if (memory.memoryBytes(setting) > problem.cluster.device.memoryBytes) continue;
    const run = simulateSetting(setting, { exact: true });
    if (run.known) found.push({ setting, seconds: run.seconds });
  }
  return found.sort((a, b) => a.seconds - b.seconds);
}

/** The fastest by simulation of so many that the closed form ranks first. */
export function bestBySimulation(problem: PlanProblem, count: number): SimulatedPlan | undefined {
  const search = searchToJudge(problem, count);
  for (const _ of search.run());
  const plans = plansToJudge(problem, search.result, count);
  return simulatedPlans(
    problem,
    plans.map(({ setting }) => setting),
  )[0];
}
