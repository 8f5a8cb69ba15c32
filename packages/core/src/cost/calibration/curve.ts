/**
 * Time over size of one collective, from scattered points to a monotone curve.
 *
 * Between two measured sizes time is a straight line in size (every segment is its own latency plus bytes over bandwidth, so points of an
 * alpha-beta link come back exactly), through one more point in the middle where the neighbouring segments tell on which side of it a
 * bend or a change of protocol lies; see `middle.ts`. On published NCCL series, with every second size left out, straight lines predicted
 * better than those or monotone cubics in log-log coordinates, and than cubics of the bandwidth, and the middle points better still.
 */
import { median } from '../../units/index.js';
import { between, middleOf, middleRule } from './middle.js';

export interface Point {
  readonly bytes: number;
  readonly seconds: number;
  /** A second witness of the same size; see `cleanPoints`. */
  readonly inPlaceSeconds?: number;
}

export interface Knot {
  readonly bytes: number;
  readonly seconds: number;
}

export type EvaluationKind = 'measured' | 'interpolated' | 'extrapolated';

export interface Evaluation {
  readonly seconds: number;
  readonly kind: EvaluationKind;
  /** Expected relative error, as a share: what leaving points of this very curve out shows. */
  readonly expectedError: number;
}

export interface Cleaned {
  /** One point per size, sizes rising, times not falling. */
  readonly knots: readonly Knot[];
  /** Indices of the given points that contradict the others and were left out. */
  readonly outliers: readonly number[];
}

/** Falls below this share are noise: a larger message may be measured that much faster without being an outlier. */
const noise = 0.2;

/** How far out of place may exceed in place, against what the series does usually, before it counts as disturbed. */
const disturbed = 1.2;

/**
 * Robust, monotone points. Repeated sizes are taken by their median. A time that is out of line with the in-place time of the same size is
 * replaced by that, times the usual ratio. Then the longest run of sizes whose times do not fall beyond noise is kept (one wrong point
 * costs itself, not its neighbours), and the rest is flattened from the right: interference only ever makes a measurement longer.
 */
export function cleanPoints(points: readonly Point[]): Cleaned {
  const ratio = median(points.flatMap((p) => (p.inPlaceSeconds === undefined ? [] : [p.seconds / p.inPlaceSeconds])));
  const seconds = points.map((p) =>
    p.inPlaceSeconds !== undefined && p.seconds > disturbed * ratio * p.inPlaceSeconds
      ? ratio * p.inPlaceSeconds
      : p.seconds,
  );
  const bySize = new Map<number, number[]>();
  points.forEach(({ bytes }, i) => bySize.set(bytes, [...(bySize.get(bytes) ?? []), i]));
  const sizes = [...bySize.keys()].sort((a, b) => a - b);
  const times = sizes.map((size) => median((bySize.get(size) ?? []).map((i) => seconds[i] ?? 0)));
  const kept = longestRising(times);
  const knots = kept.map((i) => ({ bytes: sizes[i] ?? 0, seconds: times[i] ?? 0 }));
  for (let i = knots.length - 2; i >= 0; i--) {
    const [knot, next] = [knots[i], knots[i + 1]];
    if (knot && next && knot.seconds > next.seconds) knots[i] = { bytes: knot.bytes, seconds: next.seconds };
  }
  const outliers = sizes.flatMap((size, i) => (kept.includes(i) ? [] : (bySize.get(size) ?? [])));
  return { knots, outliers };
}

/** Indices of the longest subsequence that never falls beyond noise; of several the one with the least total time. */
function longestRising(times: readonly number[]): number[] {
  const best = times.map((time, i) => ({ length: 1, total: time, previous: -1, index: i }));
  for (const entry of best) {
    const time = times[entry.index] ?? 0;
    for (const before of best.slice(0, entry.index)) {
      if (time < (times[before.index] ?? 0) * (1 - noise)) continue;
      const length = before.length + 1;
      const total = before.total + time;
      if (length > entry.length || (length === entry.length && total < entry.total)) {
        Object.assign(entry, { length, total, previous: before.index });
      }
    }
  }
  let last = best[0];
  for (const entry of best) {
    if (
      last === undefined ||
      entry.length > last.length ||
      (entry.length === last.length && entry.total < last.total)
    ) {
      last = entry;
    }
  }
  const indices: number[] = [];
  for (let entry = last; entry !== undefined; entry = best[entry.previous]) indices.unshift(entry.index);
  return indices;
}

/** A monotone curve through knots. */
export class Curve {
  readonly knots: readonly Knot[];
  /** Median relative error of each inner knot predicted from its neighbours. */
  readonly interpolationError: number;
  readonly #leftOut: readonly number[];
  /** Between knots i and i + 1, where there is one. */
  readonly #middles: readonly (Knot | undefined)[];

  /** `knots`: sizes rising and times not falling, at least two (else `RangeError`). */
  constructor(knots: readonly Knot[], rule = middleRule) {
    if (knots.length < 2) throw new RangeError(`a curve needs at least 2 points, not ${knots.length}`);
    knots.forEach((knot, i) => {
      const before = knots[i - 1];
      if (
        !(knot.bytes > 0 && knot.seconds > 0) ||
        (before && !(knot.bytes > before.bytes && knot.seconds >= before.seconds))
      ) {
        throw new RangeError(`point ${i} (${knot.bytes} bytes, ${knot.seconds} s) breaks the order of the curve`);
      }
    });
    this.knots = knots;
    this.#middles = knots.slice(1).map((_, i) => middleOf(knots, i, rule));
    this.#leftOut = knots.map((knot, i) => {
      const [before, after] = [knots[i - 1], knots[i + 1]];
      return before && after ? Math.abs(between(before, after, knot.bytes) / knot.seconds - 1) : Number.NaN;
    });
    const inner = this.#leftOut.filter((e) => !Number.isNaN(e));
    this.interpolationError = inner.length > 0 ? median(inner) : 1;
  }

  /** Latency: what the curve gives for the smallest messages, seconds. */
  get alphaSeconds(): number {
    return Math.min(this.at(1).seconds, this.knots[0]?.seconds ?? Infinity);
  }

  /** Marginal seconds per byte of the largest messages: the median of the last three segments; the average of the largest where that is flat. */
  get betaSecondsPerByte(): number {
    const slopes = this.knots.slice(1).map((knot, i) => {
      const before = this.knots[i] ?? knot;
      return (knot.seconds - before.seconds) / (knot.bytes - before.bytes);
    });
    const last = this.knots.at(-1);
    return median(slopes.slice(-3)) || (last === undefined ? 0 : last.seconds / last.bytes);
  }

  /** Time of a collective of `bytes`, anywhere above 0. */
  at(bytes: number): Evaluation {
    const { knots } = this;
    const index = knots.findIndex((knot) => knot.bytes >= bytes);
    const knot = knots[index];
    if (knot !== undefined && knot.bytes === bytes) {
      return { seconds: knot.seconds, kind: 'measured', expectedError: this.#errorNear(index, index) };
    }
    const [before, next] = [knots[index - 1], knots[index]];
    if (before !== undefined && next !== undefined) {
      const middle = this.#middles[index - 1];
      const [from, to] = middle === undefined || bytes > middle.bytes ? [middle ?? before, next] : [before, middle];
      const seconds = between(from, to, bytes);
      return { seconds, kind: 'interpolated', expectedError: this.#errorNear(index - 1, index) };
    }
    const end = index === 0 ? knots[0] : knots.at(-1);
    const expectedError = this.#errorOutside(Math.abs(Math.log2(bytes / (end?.bytes ?? bytes))), index === 0);
    return { seconds: outside(knots, bytes), kind: 'extrapolated', expectedError };
  }

  /** Half the error of the neighbouring knots left out (their gaps were twice as wide), but not less than half the whole curve's. */
  #errorNear(low: number, high: number): number {
    const near = this.#leftOut.slice(low, high + 1).filter((e) => !Number.isNaN(e));
    const local = near.length === 0 ? this.interpolationError : near.reduce((a, b) => a + b, 0) / near.length;
    return Math.max(local, this.interpolationError) / 2;
  }

  /**
   * Error of extrapolating by so many doublings: what cutting the curve's own end off by as many shows, in proportion beyond half of it.
   */
  #errorOutside(octaves: number, below: boolean): number {
    const { knots } = this;
    const end = below ? knots[0] : knots.at(-1);
    let worst = this.interpolationError;
    let reached = 1;
    for (let cut = 1; cut <= knots.length / 2 && knots.length - cut >= 2; cut++) {
      const kept = below ? knots.slice(cut) : knots.slice(0, -cut);
      const near = below ? kept[0] : kept.at(-1);
      if (end === undefined || near === undefined) break;
      reached = Math.max(reached, Math.abs(Math.log2(end.bytes / near.bytes)));
      worst = Math.max(worst, Math.abs(outside(kept, end.bytes) / end.seconds - 1));
      if (reached >= octaves) return worst;
    }
    return worst * Math.max(1, octaves / reached);
  }
}

/**
 * Beyond the knots. Below: along the first segment down to its own latency, but never faster per byte than the smallest size was. Above:
 * along the last segment, whose marginal cost is never taken above the average cost of the largest size.
 */
function outside(knots: readonly Knot[], bytes: number): number {
  const [first, second] = knots;
  const [before, last] = knots.slice(-2);
  if (!first || !second || !before || !last) return Number.NaN;
  if (bytes < first.bytes) return Math.max(between(first, second, bytes), (first.seconds * bytes) / first.bytes);
  const slope = (last.seconds - before.seconds) / (last.bytes - before.bytes);
  return last.seconds + Math.min(slope, last.seconds / last.bytes) * (bytes - last.bytes);
}
