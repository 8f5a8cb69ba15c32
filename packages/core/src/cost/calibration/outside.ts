/**
 * Times beyond the measured sizes, and what error to expect of them.
 *
 * Above, every further byte costs what it did over the last octave that was measured, but never less than the datasheet
 * of the links allows and never more than the average byte of the largest size. Where the largest size still is mostly
 * latency, the data do not show the bandwidth at all: then the time is the geometric mean of those two limits. Below,
 * time goes down the first octave's line to its own latency, but never faster per byte than the smallest size was.
 *
 * The error is what the curve shows when as many of its own octaves are cut off and predicted from the rest; it grows
 * with the distance as far as those limits allow, is no less than the largest step within as many octaves (another may
 * follow), and where the bandwidth is not shown, as wide as the two limits lie apart.
 */
import type { Knot } from './clean-points.js';
import { between } from './middle.js';

/** Sizes nearer to each other than this factor do not show a slope beyond their noise. */
const octave = 1.9;

/** Knots at least an octave apart, from one end of the curve; where all lie within one octave, its two ends. */
export function thinned(knots: readonly Knot[], from: 'above' | 'below'): readonly Knot[] {
  const ordered = from === 'above' ? [...knots].reverse() : knots;
  const kept: Knot[] = [];
  for (const knot of ordered) {
    const last = kept.at(-1);
    const factor = last === undefined ? Infinity : Math.max(last.bytes / knot.bytes, knot.bytes / last.bytes);
    if (factor >= octave) kept.push(knot);
  }
  const end = ordered.at(-1);
  if (kept.length === 1 && end !== undefined) kept.push(end);
  return from === 'above' ? kept.reverse() : kept;
}

/** Seconds per byte over the last octave, at most the average of the largest size. */
function slopeAbove(knots: readonly Knot[]): number {
  const [before, last] = thinned(knots, 'above').slice(-2);
  if (!before || !last) return Number.NaN;
  return Math.min((last.seconds - before.seconds) / (last.bytes - before.bytes), last.seconds / last.bytes);
}

/** Time of `bytes` outside of the knots (at least two), seconds. */
export function outside(knots: readonly Knot[], bytes: number, leastSecondsPerByte: number): number {
  const [first, second] = thinned(knots, 'below');
  const last = knots.at(-1);
  if (!first || !second || !last) return Number.NaN;
  if (bytes < first.bytes) return Math.max(between(first, second, bytes), (first.seconds * bytes) / first.bytes);
  const slope = slopeAbove(knots);
  if (slope >= leastSecondsPerByte) return last.seconds + slope * (bytes - last.bytes);
  const [least, most] = limitsAbove(last, bytes, leastSecondsPerByte);
  return Math.sqrt(least * most);
}

/** What the links allow and what the average byte so far would cost. */
function limitsAbove(last: Knot, bytes: number, leastSecondsPerByte: number): [number, number] {
  const most = (last.seconds * bytes) / last.bytes;
  return [Math.min(most, last.seconds + leastSecondsPerByte * (bytes - last.bytes)), most];
}

/** No byte fewer makes a message slower, nor each of the others dearer than the average so far made it. */
const limitsBelow = (first: Knot, bytes: number): [number, number] => [
  (first.seconds * bytes) / first.bytes,
  first.seconds,
];

interface OutsideOptions {
  readonly side: 'above' | 'below';
  readonly leastSecondsPerByte: number;
  /** Error to expect at the last measured size. */
  readonly atTheEnd: number;
}

/**
 * What no curve shows of itself, for each octave: a quarter of the published series cut off is met within this (a test
 * recounts it).
 */
const surprise = 0.01;

/** Expected relative error of `outside`, a share; grows with the distance from the knots. */
export function errorOutside(knots: readonly Knot[], bytes: number, options: OutsideOptions): number {
  const { side, leastSecondsPerByte } = options;
  const end = side === 'below' ? knots[0] : knots.at(-1);
  if (end === undefined) return Number.NaN;
  const octaves = Math.abs(Math.log2(bytes / end.bytes));
  const [least, most] = side === 'above' ? limitsAbove(end, bytes, leastSecondsPerByte) : limitsBelow(end, bytes);
  const seconds = outside(knots, bytes, leastSecondsPerByte);
  const limit = options.atTheEnd + Math.max(seconds / least, most / seconds) - 1;
  const shown = Math.min(cutOffError(knots, octaves, options), limit);
  const ignorance =
    side === 'above' ? bandwidthNotShown(knots, bytes, leastSecondsPerByte) : latencyNotShown(knots, bytes);
  return Math.max(shown, largestStep(knots, octaves, side), ignorance) + octaves * surprise;
}

/**
 * What cutting the curve's own end off by so many octaves shows; in proportion to the distance between such cuts and
 * beyond them.
 */
function cutOffError(knots: readonly Knot[], octaves: number, options: OutsideOptions): number {
  const { side, leastSecondsPerByte, atTheEnd } = options;
  const end = side === 'below' ? knots[0] : knots.at(-1);
  if (end === undefined) return Number.NaN;
  let [reached, worst] = [0, atTheEnd];
  for (let cut = 1; cut <= knots.length / 2 && knots.length - cut >= 2; cut++) {
    const kept = side === 'below' ? knots.slice(cut) : knots.slice(0, -cut);
    const near = side === 'below' ? kept[0] : kept.at(-1);
    if (near === undefined) break;
    const distance = Math.abs(Math.log2(end.bytes / near.bytes));
    const error = Math.abs(outside(kept, end.bytes, leastSecondsPerByte) / end.seconds - 1);
    const next = Math.max(worst, error);
    if (distance >= octaves) return worst + ((next - worst) * (octaves - reached)) / (distance - reached);
    [reached, worst] = [distance, next];
  }
  return worst * Math.max(1, octaves / Math.max(1, reached));
}

/** The largest rise of the cost of a byte, a share, within as many octaves (one at least) of the end. */
function largestStep(knots: readonly Knot[], octaves: number, side: 'above' | 'below'): number {
  const end = side === 'below' ? knots[0] : knots.at(-1);
  if (end === undefined) return 0;
  const reach = 2 ** Math.max(1, octaves);
  let cheapest = Infinity;
  let most = 0;
  for (const { bytes, seconds } of knots) {
    if (Math.max(end.bytes / bytes, bytes / end.bytes) > reach) continue;
    most = Math.max(most, seconds / bytes / cheapest - 1);
    cheapest = Math.min(cheapest, seconds / bytes);
  }
  return most;
}

/**
 * Shares of the largest size's time that are not bandwidth, from which on the bandwidth is unsure and not shown at all.
 */
const [unsure, notShown] = [0.5, 0.9];

function bandwidthNotShown(knots: readonly Knot[], bytes: number, leastSecondsPerByte: number): number {
  const last = knots.at(-1);
  if (last === undefined) return 0;
  const latencyShare = 1 - (slopeAbove(knots) * last.bytes) / last.seconds;
  const weight = Math.min(1, Math.max(0, (latencyShare - unsure) / (notShown - unsure)));
  const [least, most] = limitsAbove(last, bytes, leastSecondsPerByte);
  return weight * (Math.sqrt(most / least) - 1);
}

/** Latency below this share of the smallest message's time cannot be told from none. */
const seen = 0.1;

/** Where the smallest size is nearly all bandwidth, its latency may be anything up to the error of its own line. */
function latencyNotShown(knots: readonly Knot[], bytes: number): number {
  const [first, second] = thinned(knots, 'below');
  if (!first || !second) return 0;
  const latency = Math.max(0, between(first, second, 0)) / first.seconds;
  if (latency > seen) return 0;
  const least = outside(knots, bytes, 0);
  return Math.sqrt((least + seen * first.seconds) / least) - 1;
}
