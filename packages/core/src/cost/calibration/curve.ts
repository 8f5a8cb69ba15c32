/**
 * Time over size of one collective, through points that `cleanPoints` made monotone.
 *
 * Between two measured sizes time is a straight line in size (every segment is its own latency plus bytes over
 * bandwidth, so points of an alpha-beta link come back exactly), through one more point in the middle where the
 * neighbouring segments tell on which side of it a bend or a change of protocol lies; see `middle.ts`. On published
 * NCCL series, with every second size left out, straight lines predicted better than those or monotone cubics in
 * log-log coordinates, and than cubics of the bandwidth, and the middle points better still. Beyond the measured sizes
 * see `outside.ts`.
 */
import { median, maxOf } from '../../units/index.js';
import type { Knot } from './clean-points.js';
import { between, middleOf, middleRule } from './middle.js';
import type { MiddleRule } from './middle.js';
import { errorOutside, outside, thinned } from './outside.js';

export type EvaluationKind = 'measured' | 'interpolated' | 'extrapolated';

export interface Evaluation {
  readonly seconds: number;
  readonly kind: EvaluationKind;
  /**
   * Expected relative error, as a share: what leaving points of this very curve out shows, and how far repeats of a
   * size differ.
   */
  readonly expectedError: number;
}

export interface CurveOptions {
  readonly rule?: MiddleRule;
  /** No larger message takes less than this for each byte more, by the datasheet of the links. */
  readonly leastSecondsPerByte?: number;
}

/** A monotone curve through knots. */
export class Curve {
  readonly knots: readonly Knot[];
  /**
   * Median relative error of each inner knot predicted from its neighbours, but no less than repeats of sizes differ on
   * average.
   */
  readonly interpolationError: number;
  /** The median alone. */
  readonly #leftOutError: number;
  readonly #leftOut: readonly number[];
  readonly #leastSecondsPerByte: number;
  /** Between knots i and i + 1, where there is one. */
  readonly #middles: readonly (Knot | undefined)[];

  /** `knots`: sizes rising and times not falling, at least two (else `RangeError`). */
  constructor(knots: readonly Knot[], { rule = middleRule, leastSecondsPerByte = 0 }: CurveOptions = {}) {
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
    this.#leastSecondsPerByte = leastSecondsPerByte;
    this.#middles = knots.slice(1).map((_, i) => middleOf(knots, i, rule));
    this.#leftOut = knots.map((knot, i) => {
      const [before, after] = [knots[i - 1], knots[i + 1]];
      return before && after ? Math.abs(between(before, after, knot.bytes) / knot.seconds - 1) : Number.NaN;
    });
    const inner = this.#leftOut.filter((e) => !Number.isNaN(e));
    this.#leftOutError = inner.length > 0 ? median(inner) : 1;
    const logs = knots.map(({ spread = 0 }) => Math.log1p(spread));
    const repeats = Math.expm1(logs.reduce((sum, one) => sum + one, 0) / logs.length);
    this.interpolationError = Math.max(this.#leftOutError, repeats);
  }

  /** Latency: what the curve gives for the smallest messages, seconds. */
  get alphaSeconds(): number {
    return Math.min(this.at(1).seconds, this.knots[0]?.seconds ?? Infinity);
  }

  /**
   * Marginal seconds per byte of the largest messages: the median over the last three octaves; the average of the
   * largest where that is flat.
   */
  get betaSecondsPerByte(): number {
    const steps = thinned(this.knots, 'above');
    const slopes = steps.slice(1).map((knot, i) => {
      const before = steps[i] ?? knot;
      return (knot.seconds - before.seconds) / (knot.bytes - before.bytes);
    });
    const last = this.knots.at(-1);
    const average = last === undefined ? 0 : last.seconds / last.bytes;
    return Math.min(median(slopes.slice(-3)) || average, average);
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
    const side = index === 0 ? 'below' : 'above';
    const end = side === 'below' ? 0 : knots.length - 1;
    const expectedError = errorOutside(knots, bytes, {
      side,
      leastSecondsPerByte: this.#leastSecondsPerByte,
      atTheEnd: Math.max(this.#errorNear(end, end), this.interpolationError),
    });
    return { seconds: outside(knots, bytes, this.#leastSecondsPerByte), kind: 'extrapolated', expectedError };
  }

  /**
   * Half the error of the neighbouring knots left out (their gaps were twice as wide), but not less than half the whole
   * curve's, nor than repeats of the neighbouring sizes differ.
   */
  #errorNear(low: number, high: number): number {
    const near = this.#leftOut.slice(low, high + 1).filter((e) => !Number.isNaN(e));
    const local = near.length === 0 ? this.#leftOutError : near.reduce((a, b) => a + b, 0) / near.length;
    const repeats = maxOf(this.knots.slice(low, high + 1).map(({ spread = 0 }) => spread));
    return Math.max(Math.max(local, this.#leftOutError) / 2, repeats);
  }
}
