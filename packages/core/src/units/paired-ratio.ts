/** Ratios and differences of measurements that were taken in turns, and how sure they are. */
import { median, quantile } from './quantiles.js';
import { Random } from './random.js';

/** A median over pairs with the interval that holds it in 95 of 100 resamples, or in as many as were asked for. */
export interface PairedFigure {
  /** Median over the pairs. */
  readonly median: number;
  /** Lower end of the interval. */
  readonly low: number;
  /** Upper end of the interval. */
  readonly high: number;
  /** How many pairs were compared. */
  readonly pairs: number;
}

const resamples = 2000;

/** How sure an interval is, unless said otherwise. */
const usualConfidence = 0.95;

/** The median of a figure of each pair, with its percentile bootstrap interval (Efron 1979). */
function paired(figures: readonly number[], seed: number, confidence = usualConfidence): PairedFigure {
  const random = new Random(seed);
  const medians = Array.from({ length: resamples }, () =>
    median(figures.map(() => figures[random.integer(figures.length)] ?? Number.NaN)),
  );
  return {
    median: median(figures),
    low: quantile(medians, (1 - confidence) / 2),
    high: quantile(medians, (1 + confidence) / 2),
    pairs: figures.length,
  };
}

/**
 * The ratio ours / theirs of measurements in turns. A machine that grows slower for a while slows both of a pair.
 * Seeded. NaN for no pairs; of one pair the interval is the ratio itself.
 */
export function pairedRatio(
  ours: readonly number[],
  theirs: readonly number[],
  seed = 1,
  confidence?: number,
): PairedFigure {
  return paired(
    ours.slice(0, theirs.length).map((value, turn) => value / (theirs[turn] ?? Number.NaN)),
    seed,
    confidence,
  );
}

/** The difference ours - theirs of measurements in turns, as `pairedRatio` takes their ratio. */
export function pairedDifference(ours: readonly number[], theirs: readonly number[], seed = 1): PairedFigure {
  return paired(
    ours.slice(0, theirs.length).map((value, turn) => value - (theirs[turn] ?? Number.NaN)),
    seed,
  );
}
