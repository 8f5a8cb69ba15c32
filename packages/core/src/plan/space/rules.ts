/**
 * Which degrees go together. An axis has candidates that follow from the axes before it, and rules over all of them:
 * the search climbs the axes in this order, and the words of a refusal come from the rule that was broken.
 */
import { deviceCount } from '../../cluster/ports.js';
import { checkModelLayout, unevenSequence } from '../../layout/check.js';
import type { MoeModel } from '../../model/model.js';
import { InputError } from '../../units/errors.js';
import { axisNames, isAllowed, allowedText, type AxisName, type Degrees } from './bounds.js';
import { limitsOf } from './frameworks.js';
import { runsAs, wantedSchedules } from './schedules.js';
import type { PlanProblem } from './problem.js';
import { stageSplits } from './stage-splits.js';

export type MutableDegrees = { -readonly [K in AxisName]: number };

/** Divisors of n, ascending. */
export function divisorsOf(n: number): number[] {
  const [low, high]: [number[], number[]] = [[], []];
  for (let d = 1; d * d <= n; d++)
    if (n % d === 0) {
      low.push(d);
      if (d * d !== n) high.push(n / d);
    }
  return [...low, ...high.reverse()];
}

const knownDivisors = new Map<number, readonly number[]>();
/** Numbers whose divisors are kept. */
const mostKnown = 1024;

/** `divisorsOf`, kept: a climb asks for those of few numbers again and again. */
function keptDivisors(n: number): readonly number[] {
  const known = knownDivisors.get(n);
  if (known !== undefined) return known;
  if (knownDivisors.size >= mostKnown) knownDivisors.clear();
  const made = divisorsOf(n);
  knownDivisors.set(n, made);
  return made;
}

/** Virtual stages that differ in the layers of their longest chunk; of equals the fewest, which wait least. */
function virtualStageCounts(layers: number, pp: number): number[] {
  if (pp === 1) return [1];
  const counts: number[] = [];
  let longest = Infinity;
  for (let count = 1; pp * count <= layers; count++) {
    const chunk = Math.ceil(layers / (pp * count));
    if (chunk < longest) counts.push(count);
    longest = chunk;
  }
  return counts;
}

/** Devices that the innermost tier joins. */
export const nodeSize = ({ cluster }: PlanProblem): number => cluster.tiers[0]?.size ?? deviceCount(cluster);

/** Values of an axis worth trying under the degrees before it; those that a person named among them. */
export function candidatesOf(axis: AxisName, at: Degrees, problem: PlanProblem): readonly number[] {
  const { model, bounds, globalBatch } = problem;
  const world = deviceCount(problem.cluster);
  const experts = model.moeLayers.includes(true);
  switch (axis) {
    case 'tp':
      // TP over the network between nodes is left out unless it is asked for.
      return keptDivisors(world).filter((tp) => bounds.tp !== undefined || tp <= nodeSize(problem));
    case 'cp':
      return keptDivisors(world / at.tp);
    case 'pp':
      return keptDivisors(world / (at.tp * at.cp));
    case 'dp':
      return [world / (at.tp * at.cp * at.pp)];
    case 'etp':
      return experts ? keptDivisors(at.tp) : [at.tp];
    case 'ep':
      return experts ? keptDivisors(model.experts) : [1];
    case 'virtualStages':
      return virtualStageCounts(model.layers, at.pp);
    case 'firstStageLayers':
      return [...new Set(stageSplits(model, at).map(({ first }) => first))];
    case 'lastStageLayers':
      return stageSplits(model, at).flatMap(({ first, last }) => (first === at.firstStageLayers ? [last] : []));
    case 'microBatch':
      return keptDivisors(globalBatch / at.dp);
  }
}

type Words = readonly [message: string, expected: string];

/** Why a value of an axis is refused under the degrees before it, in words, or undefined. */
function wordsOf(axis: AxisName, at: Degrees, problem: PlanProblem): Words | undefined {
  const allowed = problem.bounds[axis];
  if (!isAllowed(allowed, at[axis]))
    return [
      `${axis}=${at[axis]} follows, ${allowed === undefined ? '' : allowedText(allowed)} is asked for`,
      `another bound of ${axis}, or of what it follows from`,
    ];
  const words = brokenRule(axis, at, problem);
  if (words !== undefined) return words;
  const limit = limitsOf(problem).rules.find((rule) => rule.axis === axis && !rule.holds(at, problem.model));
  if (limit === undefined) return undefined;
  return [`${axis}=${at[axis]} is nothing for ${problem.framework}: ${limit.why}`, limit.expected];
}

/** Whether an axis may have its value under the degrees before it. */
export const isLegal = (axis: AxisName, at: Degrees, problem: PlanProblem): boolean =>
  wordsOf(axis, at, problem) === undefined;

/** Why it may not, or undefined. */
export function refusalOf(axis: AxisName, at: Degrees, problem: PlanProblem): InputError | undefined {
  const words = wordsOf(axis, at, problem);
  return words === undefined ? undefined : new InputError(words[0], { path: axis, expected: words[1] });
}

function brokenRule(axis: AxisName, at: Degrees, problem: PlanProblem): Words | undefined {
  const { sequence, globalBatch } = problem;
  switch (axis) {
    case 'tp':
    case 'pp':
    case 'etp':
    case 'ep':
      return modelRule(axis, at, problem) ?? expertRule(axis, at);
    case 'cp': {
      const sequenceParallel = at.tp > 1 && limitsOf(problem).sequenceParallel;
      const uneven = unevenSequence(sequence, { tp: at.tp, cp: at.cp, sequenceParallel });
      return uneven && [uneven.message, uneven.expected];
    }
    case 'dp':
      return globalBatch % at.dp === 0
        ? undefined
        : [`${at.dp} replicas do not divide ${globalBatch} sequences`, `a batch of a multiple of ${at.dp}`];
    case 'virtualStages':
      return undefined;
    case 'firstStageLayers':
    case 'lastStageLayers':
      return undefined;
    case 'microBatch': {
      const microBatches = globalBatch / (at.dp * at.microBatch);
      const point = { virtualStages: at.virtualStages, microBatches };
      if (at.virtualStages === 1 || microBatches % at.pp === 0) return undefined;
      // The one schedule of several stages a device that is not interleaved in rounds.
      if (wantedSchedules(problem).includes('dualpipe-v') && runsAs('dualpipe-v', at.pp, point)) return undefined;
      return [`${microBatches} micro-batches in an interleaved pipeline of ${at.pp} stages`, `a multiple of ${at.pp}`];
    }
  }
}

const refusedByModel = new WeakMap<MoeModel, Map<string, Words | undefined>>();

/** What the model's own sizes forbid: heads, widths, experts, layers. Of each value once: a search asks often. */
function modelRule(axis: 'tp' | 'pp' | 'etp' | 'ep', at: Degrees, { model }: PlanProblem): Words | undefined {
  const known = refusedByModel.get(model) ?? new Map<string, Words | undefined>();
  refusedByModel.set(model, known);
  const key = `${axis} ${at[axis]} ${axis === 'etp' ? at.tp : ''}`;
  if (!known.has(key)) known.set(key, modelRefusal(axis, at, model));
  return known.get(key);
}

function modelRefusal(axis: 'tp' | 'pp' | 'etp' | 'ep', at: Degrees, model: MoeModel): Words | undefined {
  const alone = { tp: 1, cp: 1, dp: 1, pp: 1, etp: 1, ep: 1, edp: 1, sequenceParallel: false };
  const degrees = axis === 'etp' ? { tp: at.tp, etp: at.etp } : { [axis]: at[axis] };
  try {
    checkModelLayout(model, { ...alone, ...degrees });
    return undefined;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return [error.message, error.expected ?? ''];
  }
}

function expertRule(axis: AxisName, { tp, cp, dp, etp, ep }: Degrees): Words | undefined {
  if (axis !== 'ep') return undefined;
  const stage = tp * cp * dp;
  return stage % (etp * ep) === 0
    ? undefined
    : [`etp·ep = ${etp}·${ep} does not divide tp·cp·dp = ${stage}`, 'etp·ep·edp = tp·cp·dp for a whole edp'];
}

/** The first refusal of degrees that are all given, or undefined: for whatever did not come from the climb. */
export function firstRefusal(at: Degrees, problem: PlanProblem): InputError | undefined {
  const world = deviceCount(problem.cluster);
  if (at.tp * at.cp * at.pp * at.dp !== world)
    return new InputError(`tp·cp·dp·pp = ${at.tp * at.cp * at.pp * at.dp} ranks`, {
      path: 'layout',
      expected: `the ${world} devices of ${problem.cluster.name}`,
    });
  for (const axis of axisNames) {
    const refusal = refusalOf(axis, at, problem);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}
