/** Fits coefficients of kernels to measured times, by least absolute relative deviations, none of them below zero. */

import { solveLinear } from '../../units/linear-system.js';

export interface Sample {
  /** Amounts, see `features.ts`; equally many in all samples. */
  readonly amounts: readonly number[];
  readonly seconds: number;
}

const rounds = 40;
/** Relative deviations below this weigh alike. */
const smallest = 1e-3;

/**
 * Coefficients whose sum of |predicted / measured - 1| is least: weighted least squares, repeated with weights from the
 * deviations before (Schlossmacher, JASA 68, 1973). What would become negative is left out. Throws RangeError without
 * samples.
 */
export function fitCoefficients(samples: readonly Sample[]): number[] {
  const width = samples[0]?.amounts.length;
  if (width === undefined) throw new RangeError('no samples to fit');
  const rows = samples.map(({ amounts, seconds }) => amounts.map((amount) => amount / seconds));
  let active = Array.from({ length: width }, (_, index) => index);
  for (;;) {
    const found = leastDeviations(rows, active);
    const positive = active.filter((_, place) => (found[place] ?? 0) > 0);
    if (positive.length === active.length || positive.length === 0) {
      const all = Array.from({ length: width }, () => 0);
      active.forEach((index, place) => (all[index] = Math.max(0, found[place] ?? 0)));
      return all;
    }
    active = positive;
  }
}

function leastDeviations(rows: readonly (readonly number[])[], active: readonly number[]): number[] {
  let weights = rows.map(() => 1);
  let found: number[] = [];
  for (let round = 0; round < rounds; round++) {
    found = solve(rows, active, weights);
    weights = rows.map((row) => {
      const predicted = active.reduce((sum, index, place) => sum + (found[place] ?? 0) * (row[index] ?? 0), 0);
      return 1 / (Math.abs(predicted - 1) + smallest);
    });
  }
  return found;
}

/** Weighted least squares of rows against 1, by the normal equations. */
function solve(rows: readonly (readonly number[])[], active: readonly number[], weights: readonly number[]): number[] {
  const matrix = active.map((i) =>
    active.map((j) => rows.reduce((sum, row, r) => sum + (weights[r] ?? 0) * (row[i] ?? 0) * (row[j] ?? 0), 0)),
  );
  const right = active.map((i) => rows.reduce((sum, row, r) => sum + (weights[r] ?? 0) * (row[i] ?? 0), 0));
  return solveLinear(matrix, right);
}
