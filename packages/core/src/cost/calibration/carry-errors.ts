/** What error carrying makes, found by carrying to series that were measured after all. */
import { carryGpus, carryOps, carryRanks } from './carry.js';
import type { Carried } from './carry.js';
import { cleanPoints } from './clean-points.js';
import { Curve } from './curve.js';
import { leastSecondsPerByte } from './link-bounds.js';
import { median, maxOf } from '../../units/index.js';
import { curveOf, sameHardware, sameMake } from './series.js';
import type { Series } from './series.js';

/**
 * Typical (median) relative errors by label of `Carried`, where the calibration itself has nothing to leave out:
 * leave-one-out over the NCCL tables of seven kinds of GPU in ai-dynamo/aiconfigurator (512 B to 512 MiB; 2, 4 and 8
 * ranks of one node); across nodes over the one fabric with several collectives (two nodes of B200). A test recomputes
 * them.
 */
export const publishedErrors: Readonly<Record<string, number>> = {
  'ranks beyond uniform': 0.051,
  'ranks single': 0.158,
  'all_to_all to all_gather wire': 0.121,
  'all_to_all to all_gather fitted': 0.124,
  'all_to_all to all_gather published': 0.11,
  'all_to_all to all_gather equal': 0.139,
  'reduce_scatter to all_gather wire': 0.031,
  'reduce_scatter to all_gather fitted': 0.031,
  'reduce_scatter to all_gather published': 0.032,
  'reduce_scatter to all_gather equal': 0.032,
  'all_reduce to all_gather wire': 0.089,
  'all_reduce to all_gather fitted': 0.054,
  'all_reduce to all_gather published': 0.057,
  'gpu of other links': 0.218,
  'all_gather to all_to_all wire': 0.127,
  'all_gather to all_to_all fitted': 0.124,
  'all_gather to all_to_all published': 0.117,
  'all_gather to all_to_all equal': 0.136,
  'reduce_scatter to all_to_all wire': 0.12,
  'reduce_scatter to all_to_all fitted': 0.121,
  'reduce_scatter to all_to_all published': 0.115,
  'reduce_scatter to all_to_all equal': 0.145,
  'all_reduce to all_to_all wire': 0.157,
  'all_reduce to all_to_all fitted': 0.136,
  'all_reduce to all_to_all published': 0.123,
  'all_gather to reduce_scatter wire': 0.031,
  'all_gather to reduce_scatter fitted': 0.032,
  'all_gather to reduce_scatter published': 0.032,
  'all_gather to reduce_scatter equal': 0.032,
  'all_to_all to reduce_scatter wire': 0.123,
  'all_to_all to reduce_scatter fitted': 0.116,
  'all_to_all to reduce_scatter published': 0.118,
  'all_to_all to reduce_scatter equal': 0.15,
  'all_reduce to reduce_scatter wire': 0.068,
  'all_reduce to reduce_scatter fitted': 0.05,
  'all_reduce to reduce_scatter published': 0.046,
  'all_gather to all_reduce wire': 0.111,
  'all_gather to all_reduce fitted': 0.068,
  'all_gather to all_reduce published': 0.064,
  'all_to_all to all_reduce wire': 0.19,
  'all_to_all to all_reduce fitted': 0.14,
  'all_to_all to all_reduce published': 0.128,
  'reduce_scatter to all_reduce wire': 0.089,
  'reduce_scatter to all_reduce fitted': 0.056,
  'reduce_scatter to all_reduce published': 0.053,
  'ranks between uniform': 0.025,
  'gpu of equal links': 0.028,
  'ranks between uneven': 0.08,
  'ranks beyond uneven': 0.244,
  'reduce_scatter to all_gather equal across nodes': 0.007,
  'all_gather to reduce_scatter equal across nodes': 0.007,
};

/** For anything that no label covers. */
const unknownError = 0.5;

/** The curve through carried points, made monotone. */
export function carriedCurve(carried: Carried): Curve {
  const { knots } = cleanPoints(carried.points);
  return new Curve(knots, { leastSecondsPerByte: leastSecondsPerByte(carried.target) });
}

/** Median relative error by label, over all points of all series that can be left out and carried to. */
export function carryErrors(all: readonly Series[]): ReadonlyMap<string, number> {
  const byLabel = new Map<string, number[]>();
  for (const target of all) {
    if (target.basis !== 'measured') continue;
    const rest = all.filter((s) => s !== target);
    const generations = carryGpus(rest, target, true).filter((c) => c.label === 'gpu of other links');
    const trials = [...rankTrials(rest, target), ...opTrials(rest, target), ...carryGpus(rest, target), ...generations];
    for (const carried of trials) {
      const curve = carriedCurve(carried);
      const errors = byLabel.get(carried.label) ?? [];
      for (const knot of target.points) errors.push(Math.abs(curve.at(knot.bytes).seconds / knot.seconds - 1));
      byLabel.set(carried.label, errors);
    }
  }
  return new Map([...byLabel].map(([label, errors]) => [label, median(errors)]));
}

/** From all other rank counts together, and from each alone. */
function rankTrials(rest: readonly Series[], target: Series): Carried[] {
  const others = rest.filter((s) => s.op === target.op && sameHardware(s, target) && sameMake(s, target));
  const alone = others.map((one) => rest.filter((s) => s === one || !others.includes(s)));
  return [rest, ...alone].flatMap((series) => carryRanks(series, target) ?? []);
}

/**
 * From each other collective alone, with the ratios that machines with both collectives show, and with the published
 * ones alone.
 */
function opTrials(rest: readonly Series[], target: Series): Carried[] {
  const others = [...new Set(rest.map((s) => s.op))].filter((op) => op !== target.op);
  return others.flatMap((op) => {
    const source = rest.filter((s) => s.op === op);
    return [
      ...carryOps(
        rest.filter((s) => s.op === op || s.op === target.op),
        target,
      ),
      ...carryOps(source, target),
    ];
  });
}

/** The error to expect of a carried curve, a share; at least that of the curves that it comes from. */
export function expectedCarryError(carried: Carried, errors: ReadonlyMap<string, number>): number {
  const own = errors.get(carried.label) ?? publishedErrors[carried.label] ?? unknownError;
  return Math.max(own, maxOf(carried.from.map((s) => curveOf(s).interpolationError + s.addedError)));
}
