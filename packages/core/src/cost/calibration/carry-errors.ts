/** What error carrying makes, found by carrying to series that were measured after all. */
import { carryGpus, carryOps, carryRanks } from './carry.js';
import type { Carried } from './carry.js';
import { cleanPoints, Curve } from './curve.js';
import { median } from './measurement.js';
import { curveOf, sameHardware, sameMake } from './series.js';
import type { Series } from './series.js';

/**
 * Typical (median) relative errors by label of `Carried`, where the calibration itself has nothing to leave out: leave-one-out over the
 * NCCL tables of seven kinds of GPU in ai-dynamo/aiconfigurator (512 B to 512 MiB; 2, 4 and 8 ranks of one node). A test recomputes them.
 */
export const publishedErrors: Readonly<Record<string, number>> = {};

/** For anything that no label covers. */
const unknownError = 0.5;

/** The curve through carried points, made monotone. */
export function carriedCurve(carried: Carried): Curve {
  return new Curve(cleanPoints(carried.points).knots);
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

/** With the ratios that machines with both collectives show, and with the published ones alone. */
function opTrials(rest: readonly Series[], target: Series): Carried[] {
  const without = rest.filter((s) => s.op !== target.op);
  return [...carryOps(rest, target), ...carryOps(without, target)];
}

/** The error to expect of a carried curve, a share; at least that of the curves that it comes from. */
export function expectedCarryError(carried: Carried, errors: ReadonlyMap<string, number>): number {
  const own = errors.get(carried.label) ?? publishedErrors[carried.label] ?? unknownError;
  return Math.max(own, ...carried.from.map((s) => curveOf(s).interpolationError + s.addedError));
}
