/** A point of the space and what it leaves open, as the setting of a run. */
import { runSetting, type RunSetting } from '../../estimate/index.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';
import type { Keeping, Way } from './options.js';

/** Communication of tensor and data parallelism and of the pipeline runs beside computation, where it can. */
export function settingOf(problem: PlanProblem, point: SpacePoint, way: Way, keeping: Keeping): RunSetting {
  const { model, cluster, sequence, globalBatch, precision, states, stack, imbalance } = problem;
  const { layout, virtualStages, microBatch } = point;
  return runSetting({
    model,
    cluster,
    layout,
    virtualStages,
    sequence,
    microBatch,
    globalBatch,
    precision,
    states,
    stack,
    imbalance,
    recompute: keeping.recompute,
    sharing: keeping.sharing,
    schedule: way.schedule,
    dispatcher: way.dispatcher,
    overlap: { tp: true, dp: true, pp: true, ep: way.overlapsExperts },
  });
}

const usage = (setting: RunSetting): string[] => {
  const { layout, schedule, sharing, model } = setting;
  const experts = model.moeLayers.includes(true);
  return [
    ...(layout.tp > 1 ? ['TP'] : []),
    ...(layout.cp > 1 ? ['CP'] : []),
    ...(experts && layout.ep > 1 ? ['EP'] : []),
    ...(experts && layout.etp > 1 ? ['ETP'] : []),
    ...(layout.pp > 1 ? [schedule === '1f1b' ? 'PP' : `PP ${schedule}`] : []),
    ...(sharing === 'fsdp' || sharing === 'zero3' ? ['sharded weights'] : []),
  ];
};

/** What a plan is made of, as `TP + EP + PP interleaved`: plans of one kind differ in numbers alone. */
export const kindOf = (setting: RunSetting): string => usage(setting).join(' + ') || 'DP alone';
