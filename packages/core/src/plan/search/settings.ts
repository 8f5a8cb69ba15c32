/** A point of the space and what it leaves open, as the setting of a run. */
import type { RunSetting } from '../../estimate/index.js';
import type { PlanProblem, SpacePoint } from '../space/problem.js';
import type { Keeping, Way } from './options.js';

const besides = { tp: true, dp: true, pp: true } as const;
const [overlapping, apart] = [
  { ...besides, ep: true },
  { ...besides, ep: false },
];

/** Communication of tensor and data parallelism and of the pipeline runs beside computation, where it can. */
export function settingOf(problem: PlanProblem, point: SpacePoint, way: Way, keeping: Keeping): RunSetting {
  // Field by field, and always the same fields: copies of whole objects, and objects of many shapes, take longer than
  // the price.
  return {
    model: problem.model,
    cluster: problem.cluster,
    layout: point.layout,
    virtualStages: point.virtualStages,
    layersOfStages: point.layersOfStages,
    rankOrder: way.rankOrder === 'dp-pp' ? undefined : way.rankOrder,
    hostStates: keeping.hostStates ? true : undefined,
    weightShards: keeping.weightShards,
    sequence: problem.sequence,
    microBatch: point.microBatch,
    globalBatch: problem.globalBatch,
    precision: way.precision,
    states: problem.states,
    recompute: keeping.recompute,
    sharing: keeping.sharing,
    schedule: way.schedule,
    dispatcher: way.dispatcher,
    overlap: way.overlapsExperts ? overlapping : apart,
    stack: problem.stack,
    kernels: 'engine',
    imbalance: problem.imbalance,
    capacity: false,
    frozen: false,
  };
}

/** Settings for who looks at one at a time and keeps none: always the same object, with what a search varies anew. */
export function passingSettings(problem: PlanProblem): (point: SpacePoint, way: Way, keeping: Keeping) => RunSetting {
  let passing: { -readonly [Field in keyof RunSetting]: RunSetting[Field] } | undefined;
  return (point, way, keeping) => {
    if (passing === undefined) return (passing = settingOf(problem, point, way, keeping));
    passing.layout = point.layout;
    passing.virtualStages = point.virtualStages;
    passing.layersOfStages = point.layersOfStages;
    passing.rankOrder = way.rankOrder === 'dp-pp' ? undefined : way.rankOrder;
    passing.hostStates = keeping.hostStates ? true : undefined;
    passing.weightShards = keeping.weightShards;
    passing.microBatch = point.microBatch;
    passing.precision = way.precision;
    passing.recompute = keeping.recompute;
    passing.sharing = keeping.sharing;
    passing.schedule = way.schedule;
    passing.dispatcher = way.dispatcher;
    passing.overlap = way.overlapsExperts ? overlapping : apart;
    return passing;
  };
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
