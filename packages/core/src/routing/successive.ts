/**
 * Successive draws without replacement (Plackett-Luce): k items, one after the other, each in proportion to the weights
 * of those left. Give item i an exponential clock of rate w_i; the first k clocks to ring are the draw. So item i is
 * drawn with probability integral over t of w_i exp(-w_i t) P(fewer than k of the others have rung by t).
 */
import { minOf } from '../units/index.js';

/**
 * Step of the trapezoid rule in log t; the integrand is analytic there and dies off on both sides, so the rule is as
 * good as exact.
 */
const step = 0.2;
/** Where the integration starts: earlier than any clock of weight <= 1 rings but with this probability. */
const earliest = 1e-10;

/** P(j of the clocks have rung), j below k, from each clock's probability; `skip` leaves one out. */
function rung(probabilities: Float64Array, k: number, skip = -1): Float64Array {
  const count = new Float64Array(k);
  count[0] = 1;
  for (let i = 0; i < probabilities.length; i++) {
    if (i === skip) continue;
    const p = probabilities[i];
    for (let j = k - 1; j > 0; j--) count[j] = count[j] * (1 - p) + count[j - 1] * p;
    count[0] *= 1 - p;
  }
  return count;
}

/**
 * P(fewer than k of the clocks other than i have rung), from the counts of all: undoes one clock, or counts afresh
 * where that loses digits.
 */
function fewerOthers(all: Float64Array, probabilities: Float64Array, k: number, i: number): number {
  const p = probabilities[i];
  if (p > 0.5) return rung(probabilities, k, i).reduce((a, b) => a + b, 0);
  let [before, sum] = [0, 0];
  for (let j = 0; j < k; j++) {
    before = (all[j] - p * before) / (1 - p);
    sum += before;
  }
  return sum;
}

/**
 * Probability of each item to be among k successive draws; they sum to k. Items of weight 0 are never drawn, so at
 * least k must have more. O(points·(n·k + n·k per likely item)) with some 200 points.
 */
export function inclusionProbabilities(weights: Float64Array, k: number): Float64Array {
  const total = weights.reduce((a, b) => a + b, 0);
  const n = weights.length;
  const scaled = weights.map((w) => w / total);
  const included = new Float64Array(n);
  if (scaled.every((w) => w === 1 / n)) return included.fill(k / n);
  const possible = scaled.filter((w) => w > 0);
  if (possible.length <= k) return scaled.map((w) => (w > 0 ? 1 : 0));
  const latest = 60 / minOf(possible);
  const probabilities = new Float64Array(n);
  for (let x = Math.log(earliest); x < Math.log(latest); x += step) {
    const t = Math.exp(x);
    for (let i = 0; i < n; i++) probabilities[i] = -Math.expm1(-scaled[i] * t);
    const all = rung(probabilities, k);
    if (all.reduce((a, b) => a + b, 0) < 1e-17) break;
    for (let i = 0; i < n; i++) {
      const density = scaled[i] * t * Math.exp(-scaled[i] * t);
      if (density > 0) included[i] += step * density * fewerOthers(all, probabilities, k, i);
    }
  }
  const sum = included.reduce((a, b) => a + b, 0);
  return included.map((p) => (p * k) / sum);
}

/**
 * Weights whose k successive draws include each item with the wanted probability (which must sum to k), summing to one:
 * the inverse of `inclusionProbabilities`, by proportional fitting until no probability is off by more than
 * `tolerance`. An item that is wanted always gets a weight that makes missing it rarer than one in a million.
 */
export function weightsForInclusion(wanted: Float64Array, k: number, tolerance = 1e-5): Float64Array {
  const target = wanted.map((p) => Math.min(p, 1 - 1e-6));
  // The draw by a fixed time has independent clocks: a start that is right up to the spread of the k-th ring.
  let weights = target.map((p) => -Math.log1p(-p));
  for (let round = 0; round < 100; round++) {
    const included = inclusionProbabilities(weights, k);
    let worst = 0;
    const rates = included.map((p, i) => {
      worst = Math.max(worst, Math.abs(p - target[i]));
      return Math.log1p(-target[i]) / Math.log1p(-Math.min(p, 1 - 1e-9)) || 0;
    });
    if (worst < tolerance) break;
    weights = weights.map((w, i) => w * rates[i]);
  }
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}

/**
 * Probability that k successive draws bring none of the items [start, end). With exponential clocks: the group's first
 * clock rings when k of the others have rung, integral over t of W exp(-W t) P(at least k of the others have rung by
 * t), W the group's weight.
 */
export function missProbability(weights: Float64Array, k: number, start: number, end: number): number {
  const total = weights.reduce((a, b) => a + b, 0);
  const outside = Float64Array.from(
    weights.filter((_, i) => i < start || i >= end),
    (w) => w / total,
  );
  const inside = weights.subarray(start, end).reduce((a, b) => a + b, 0) / total;
  const possible = outside.filter((w) => w > 0);
  if (possible.length < k) return 0;
  if (inside === 0) return 1;
  const latest = 60 / minOf([inside, ...possible]);
  const probabilities = new Float64Array(outside.length);
  let missed = 0;
  for (let x = Math.log(earliest); x < Math.log(latest); x += step) {
    const t = Math.exp(x);
    const density = inside * t * Math.exp(-inside * t);
    if (density === 0) continue;
    for (let i = 0; i < outside.length; i++) probabilities[i] = -Math.expm1(-(outside[i] ?? 0) * t);
    const fewer = rung(probabilities, k).reduce((a, b) => a + b, 0);
    missed += step * density * Math.max(0, 1 - fewer);
  }
  return Math.min(1, missed);
}

/**
 * Mean over k successive draws of the product of `factors` of the items that were drawn: with 1 - (chance that a pick
 * of i is kept) for some items and 1 for the others, the probability that none of the former is kept. With exponential
 * clocks: integral over t of sum over j of w_j exp(-w_j t) f_j [z^(k-1)] prod over i other than j of (P(i has not rung
 * by t) + z P(i has rung) f_i), j being the k-th to ring.
 */
export function meanProduct(weights: Float64Array, k: number, factors: Float64Array): number {
  const total = weights.reduce((a, b) => a + b, 0);
  const possible = [...weights.keys()].filter((i) => weights[i] > 0);
  const rates = possible.map((i) => weights[i] / total);
  const f = possible.map((i) => factors[i]);
  if (k === 0) return 1;
  if (possible.length <= k) return f.reduce((a, b) => a * b, 1);
  const latest = 60 / minOf(rates);
  const n = rates.length;
  const [stay, ring] = [new Float64Array(n), new Float64Array(n)];
  let mean = 0;
  for (let x = Math.log(earliest); x < Math.log(latest); x += step) {
    const t = Math.exp(x);
    for (let i = 0; i < n; i++) {
      stay[i] = Math.exp(-rates[i] * t);
      ring[i] = -Math.expm1(-rates[i] * t) * f[i];
    }
    const all = coefficients(stay, ring, k);
    for (let j = 0; j < n; j++) {
      const density = rates[j] * t * stay[j] * f[j];
      if (density > 0) mean += step * density * lastWithout(all, { stay, ring }, k, j);
    }
  }
  return Math.min(1, mean);
}

/** Coefficients of z^0 to z^(k-1) of the product of stay + z ring, all but `skip`. */
function coefficients(stay: Float64Array, ring: Float64Array, k: number, skip = -1): Float64Array {
  const found = new Float64Array(k);
  found[0] = 1;
  for (let i = 0; i < stay.length; i++) {
    if (i === skip) continue;
    for (let m = k - 1; m > 0; m--) found[m] = found[m] * stay[i] + found[m - 1] * ring[i];
    found[0] *= stay[i];
  }
  return found;
}

/** The last of them without item j: undoes it, or multiplies afresh where that loses digits. */
function lastWithout(
  all: Float64Array,
  { stay, ring }: { readonly stay: Float64Array; readonly ring: Float64Array },
  k: number,
  j: number,
): number {
  if (ring[j] > stay[j]) return coefficients(stay, ring, k, j)[k - 1];
  let before = 0;
  for (let m = 0; m < k; m++) before = (all[m] - ring[j] * before) / stay[j];
  return before;
}
