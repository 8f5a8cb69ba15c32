/** Ratios of measurements that were taken in turns, and how sure they are. */
import { median, quantile } from './quantiles.js';
import { Random } from './random.js';

/** A median of ratios with the interval that holds it in 95 of 100 resamples. */
export interface PairedRatio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly pairs: number;
}

const resamples = 2000;

/**
 * The ratio ours / theirs of measurements in turns: the median over pairs, with its 95 % percentile bootstrap interval
 * (Efron 1979). A machine that grows slower for a while slows both of a pair. Seeded. NaN for no pairs; of one pair the
 * interval is the ratio itself.
 */
export function pairedRatio(ours: readonly number[], theirs: readonly number[], seed = 1): PairedRatio {
  const ratios = ours.slice(0, theirs.length).map((value, turn) => value / (theirs[turn] ?? Number.NaN));
  const random = new Random(seed);
  const medians = Array.from({ length: resamples }, () =>
    median(ratios.map(() => ratios[random.integer(ratios.length)] ?? Number.NaN)),
  );
  return {
    median: median(ratios),
    low: quantile(medians, 0.025),
    high: quantile(medians, 0.975),
    pairs: ratios.length,
  };
}
