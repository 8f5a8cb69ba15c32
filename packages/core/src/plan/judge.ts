/**
 * What short trials and predictions say together. Trials differ from run to run, predictions are wrong by as much as
 * their model is; each way is judged by both, weighed by how far each can be trusted.
 */
import { median, quantile } from '../units/quantiles.js';

/**
 * What is predicted no further from the fastest than this share of its time is close: worth a trial, where there are
 * ranks to try it on.
 */
export const closeShare = 0.25;

/** One way to do the same work, predicted and tried. */
export interface Trial {
  readonly predictedSeconds: number;
  /** Seconds of its runs, one or more, in any order. */
  readonly measured: readonly number[];
}

/** Standard deviation of a normal distribution over the distance between its quartiles. */
const deviationOfQuartiles = 1 / 1.349;
/** Standard deviation of a median over that of a mean, for many draws from a normal distribution. */
const medianOverMean = Math.sqrt(Math.PI / 2);
/**
 * Two or three runs that happen to agree do not make a certainty: spreads are at least this share of the typical one.
 */
const leastSpread = 0.5;

/**
 * The likeliest seconds of every trial: on a logarithmic scale, the mean of measured median and prediction, weighted
 * with the inverse of their variances. `modelError` is the relative standard deviation of predictions about a common
 * factor, which is taken out first: a model that is wrong by the same factor everywhere ranks as well as one that is
 * right. Infinity: the medians.
 */
export function likelySeconds(trials: readonly Trial[], modelError: number): number[] {
  const spreads = trials.map(({ measured }) => relativeSpread(measured));
  const typical = median(spreads);
  const offsets = trials.map(({ measured, predictedSeconds }) => Math.log(median(measured) / predictedSeconds));
  const factor = offsets.reduce((sum, offset) => sum + offset, 0) / trials.length;
  return trials.map(({ measured, predictedSeconds }, index) => {
    const spread = Math.max(spreads[index] ?? 0, leastSpread * typical);
    const variance = (medianOverMean * spread) ** 2 / measured.length;
    const weight = variance === 0 ? 1 : 1 / (1 + variance / modelError ** 2);
    return Math.exp(weight * Math.log(median(measured)) + (1 - weight) * (Math.log(predictedSeconds) + factor));
  });
}

/** Of single runs. */
function relativeSpread(measured: readonly number[]): number {
  const distance = quantile(measured, 0.75) - quantile(measured, 0.25);
  return (deviationOfQuartiles * distance) / median(measured);
}
