/** Plans that the simulator chose among the best twenty, held against settings that it was not asked for. */
import { getCluster } from '../cluster/index.js';
import type { RunSetting } from '../estimate/index.js';
import { getModel } from '../model/index.js';
import { appendAll, Random } from '../units/index.js';
import { bestBySimulation, simulatedPlans } from './judged-search.js';
import { everySetting, randomSettings } from './search/random-settings.js';
import { EstimateModel } from './search/step-model.js';
import { planProblem, type PlanProblem } from './space/problem.js';

/** A space by its model, layers, cluster and sequences of a step. */
export interface SmallSpace {
  readonly model: string;
  readonly layers: number;
  readonly cluster: string;
  readonly globalBatch: number;
  readonly sequence: number;
}

export interface HeldAgainst extends SmallSpace {
  /** Settings that fit and were simulated. */
  readonly settings: number;
  /** Of the plan, and of the fastest of the settings. */
  readonly seconds: number;
  readonly fastestSeconds: number;
  /** Settings that take less than the plan. */
  readonly faster: number;
}

const judged = 20;

const smallProblem = ({ model, layers, cluster, globalBatch, sequence }: SmallSpace): PlanProblem => ({
  ...planProblem({
    model: getModel(`${model} truncated to ${layers} layers`),
    cluster: getCluster(cluster),
    sequence,
    globalBatch,
    stack: 'eager',
    bounds: { pp: { min: 1, max: 4 } },
  }),
  programs: true,
});

function heldAgainst(space: SmallSpace, settings: Iterable<RunSetting>): HeldAgainst {
  const problem = smallProblem(space);
  const plan = bestBySimulation(problem, judged);
  const others = simulatedPlans(problem, settings);
  const [fastest] = others;
  if (plan === undefined || fastest === undefined)
    throw new RangeError(`nothing of ${space.model} on ${space.cluster} can be simulated`);
  const faster = others.filter(({ seconds }) => seconds < plan.seconds * (1 - rounding)).length;
  return { ...space, settings: others.length, seconds: plan.seconds, fastestSeconds: fastest.seconds, faster };
}

/** The same program in other words may take longer in the last digits. */
const rounding = 1e-9;

/** Against so many random settings that fit. */
export function againstRandom(space: SmallSpace, count: number, seed: number): HeldAgainst {
  const problem = smallProblem(space);
  const random = new Random(seed);
  const memory = new EstimateModel();
  const fits = (setting: RunSetting): boolean => memory.memoryBytes(setting) <= problem.cluster.device.memoryBytes;
  const drawn: RunSetting[] = [];
  while (drawn.length < count) appendAll(drawn, randomSettings(problem, count, random).filter(fits));
  return heldAgainst(space, drawn.slice(0, count));
}

/** Against all settings that fit. */
export const againstAll = (space: SmallSpace): HeldAgainst => heldAgainst(space, everySetting(smallProblem(space)));
