/** Walks all legal ways to split a model and its batch over the devices, and says why where there is none. */
import { deviceCount } from '../../cluster/ports.js';
import type { Layout } from '../../layout/layout.js';
import { InputError } from '../../units/errors.js';
import { allowedText, axisNames, isAllowed, type AxisName, type Degrees } from './bounds.js';
import { limitsOf } from './frameworks.js';
import type { PlanProblem, SpacePoint } from './problem.js';
import { candidatesOf, isLegal, refusalOf, type MutableDegrees } from './rules.js';
import { splitOf } from './stage-splits.js';

const none: Degrees = {
  tp: 1,
  cp: 1,
  pp: 1,
  dp: 1,
  etp: 1,
  ep: 1,
  virtualStages: 1,
  firstStageLayers: 1,
  lastStageLayers: 1,
  microBatch: 1,
};

const lastOfLayout = axisNames.indexOf('ep');

/**
 * The layout of degrees. Sequence parallelism holds wherever TP does and the framework has it: the same bytes move, and
 * less is kept.
 */
export function layoutOf({ tp, cp, dp, pp, etp, ep }: Degrees, problem: Pick<PlanProblem, 'framework'>): Layout {
  const sequenceParallel = tp > 1 && limitsOf(problem).sequenceParallel;
  return { tp, cp, dp, pp, ep, etp, edp: (tp * cp * dp) / (etp * ep), sequenceParallel };
}

/**
 * Climbs the axes from `from` to `to` and calls `found` at the top with the degrees so far, which change
 * afterwards.
 */
function climb(
  problem: PlanProblem,
  degrees: MutableDegrees,
  [from, to]: readonly [number, number],
  found: () => void,
) {
  const axis = axisNames[from];
  if (axis === undefined || from > to) {
    found();
    return;
  }
  for (const value of candidatesOf(axis, degrees, problem)) {
    degrees[axis] = value;
    if (isLegal(axis, degrees, problem)) climb(problem, degrees, [from + 1, to], found);
  }
  degrees[axis] = 1;
}

/** All legal layouts, by TP, then CP, PP, ETP and EP, ascending. */
export function legalLayouts(problem: PlanProblem): Layout[] {
  const layouts: Layout[] = [];
  const degrees = { ...none };
  climb(problem, degrees, [0, lastOfLayout], () => layouts.push(layoutOf(degrees, problem)));
  return layouts;
}

/** Virtual stages, their layers and micro-batches that go with a layout: they depend on pp and dp alone. */
export type Batching = Omit<SpacePoint, 'layout'>;

/** Micro-batches of as many virtual stages. */
export type MicroBatching = Pick<SpacePoint, 'microBatch' | 'microBatches'>;

/** A split of the layers, and the micro-batches that go with it, sequences of one ascending. */
export interface BatchingGroup extends Pick<SpacePoint, 'virtualStages' | 'layersOfStages'> {
  readonly sizes: readonly MicroBatching[];
}

const [firstOfSplit, lastOfSplit, microBatchAxis] = [
  axisNames.indexOf('virtualStages'),
  axisNames.indexOf('lastStageLayers'),
  axisNames.indexOf('microBatch'),
];

/** All legal virtual stages and splits of the layers for pp stages and dp replicas, with their micro-batches. */
export function batchingGroups(problem: PlanProblem, { pp, dp }: Pick<Layout, 'pp' | 'dp'>): BatchingGroup[] {
  const groups: BatchingGroup[] = [];
  const degrees = { ...none, pp, dp };
  let known: MicroBatching[] = [];
  let ofStages = 0;
  climb(problem, degrees, [firstOfSplit, lastOfSplit], () => {
    const { virtualStages } = degrees;
    // How layers are split over the stages is nothing to micro-batches.
    if (virtualStages !== ofStages) known = microBatchings(problem, degrees);
    ofStages = virtualStages;
    const layersOfStages = splitOf(problem.model, degrees)?.layersOfStages;
    if (known.length > 0) groups.push({ virtualStages, layersOfStages, sizes: known });
  });
  return groups;
}

function microBatchings(problem: PlanProblem, at: Degrees): MicroBatching[] {
  const degrees = { ...at };
  const sizes: MicroBatching[] = [];
  climb(problem, degrees, [microBatchAxis, microBatchAxis], () => {
    const { dp, microBatch } = degrees;
    sizes.push({ microBatch, microBatches: problem.globalBatch / (dp * microBatch) });
  });
  return sizes;
}

/** All legal virtual stages, splits of the layers and micro-batches for pp stages and dp replicas. */
export const legalBatchings = (problem: PlanProblem, layout: Pick<Layout, 'pp' | 'dp'>): Batching[] =>
  batchingGroups(problem, layout).flatMap(({ virtualStages, layersOfStages, sizes }) =>
    sizes.map((size) => ({ virtualStages, layersOfStages, ...size })),
  );

/** Every point of the space. */
export function* spacePoints(problem: PlanProblem): Generator<SpacePoint> {
  const known = new Map<number, Batching[]>();
  for (const layout of legalLayouts(problem)) {
    const batchings = known.get(layout.pp * 2 ** 24 + layout.dp) ?? legalBatchings(problem, layout);
    known.set(layout.pp * 2 ** 24 + layout.dp, batchings);
    for (const batching of batchings) yield { layout, ...batching };
  }
}

/**
 * Why the space is empty: the refusal that most climbs ended in, of the axis that the furthest of them reached.
 */
export function whyEmpty(problem: PlanProblem): InputError {
  const refusals = new Map<AxisName, Map<string, { refusal: InputError; times: number }>>();
  const note = (axis: AxisName, refusal: InputError): void => {
    const ofAxis = refusals.get(axis) ?? new Map<string, { refusal: InputError; times: number }>();
    refusals.set(axis, ofAxis);
    const before = ofAxis.get(refusal.message);
    ofAxis.set(refusal.message, { refusal, times: (before?.times ?? 0) + 1 });
  };
  const visit = (degrees: MutableDegrees, place: number): void => {
    const axis = axisNames[place];
    if (axis === undefined) return;
    const candidates = candidatesOf(axis, degrees, problem);
    const asked = problem.bounds[axis];
    const tried = candidates.filter((value) => isAllowed(asked, value));
    if (tried.length === 0 && asked !== undefined) note(axis, unreached(axis, candidates, allowedText(asked), problem));
    for (const value of tried) {
      degrees[axis] = value;
      const refusal = refusalOf(axis, degrees, problem);
      if (refusal === undefined) visit(degrees, place + 1);
      else note(axis, refusal);
    }
    degrees[axis] = 1;
  };
  visit({ ...none }, 0);
  const furthest = [...axisNames].reverse().find((axis) => refusals.has(axis));
  const [most] = [...(refusals.get(furthest ?? 'tp')?.values() ?? [])].sort((a, b) => b.times - a.times);
  return most?.refusal ?? new InputError('there is no layout', { path: 'layout' });
}

const shown = 16;

function unreached(
  axis: AxisName,
  candidates: readonly number[],
  asked: string,
  { model, cluster }: PlanProblem,
): InputError {
  const values = candidates.slice(0, shown).join(', ');
  return new InputError(`no layout of ${model.name} on ${deviceCount(cluster)} devices has ${axis}=${asked}`, {
    path: axis,
    expected: `${axis} of ${values}${candidates.length > shown ? ', …' : ''}`,
  });
}
