/** Predictions of a calibration against measurements, with the naive predictor beside them. */
import type { Calibration } from './calibration.js';
import { groupBy } from './fit.js';
import { CalibrationLookup } from './lookup.js';
import type { Found } from './lookup.js';
import { quantile } from '../../units/index.js';
import type { Measurement } from './measurement.js';
import { naiveSeconds } from './naive.js';
import { describeKey } from './series.js';

export interface ValidationRow {
  readonly measurement: Measurement;
  readonly predictedSeconds: number;
  readonly kind: Found['kind'];
  readonly expectedError: number;
  readonly restsOn: readonly string[];
  /** predicted / measured - 1. */
  readonly error: number;
  /** The naive predictor's; undefined where it has nothing to go by. */
  readonly naiveError: number | undefined;
}

export interface ErrorSummary {
  readonly rows: number;
  /** Absolute relative errors, as shares; NaN without rows. */
  readonly medianAbsoluteError: number;
  readonly p90AbsoluteError: number;
  /** The naive predictor's, over the rows that it can predict. */
  readonly naiveMedianAbsoluteError: number;
  readonly naiveP90AbsoluteError: number;
}

export interface ErrorGroup extends ErrorSummary {
  readonly name: string;
}

export interface Validation extends ErrorSummary {
  /** Rows without a prediction. */
  readonly unpriced: number;
  readonly unpricedRows: readonly { readonly measurement: Measurement; readonly why: string }[];
  /** Totals from 1 MiB, and below. */
  readonly large: ErrorSummary;
  /** Totals below 1 MiB. */
  readonly small: ErrorSummary;
  /** Where predictions come from: measured, interpolated, extrapolated, carried. */
  readonly byKind: readonly ErrorGroup[];
  /** By curve of the calibration. */
  readonly bySeries: readonly ErrorGroup[];
  readonly details: readonly ValidationRow[];
}

const mebibyte = 2 ** 20;

/**
 * Predicts every measurement. Device, system and library of a row are those looked up; a row that does not name them
 * takes those of the calibration if there is but one.
 */
export function validate(
  calibration: Calibration,
  measurements: readonly Measurement[],
  given?: CalibrationLookup,
): Validation {
  const lookup = given ?? new CalibrationLookup(calibration);
  const details: ValidationRow[] = [];
  const unpricedRows: { measurement: Measurement; why: string }[] = [];
  for (const measurement of measurements) {
    const { op, ranks, bytes, seconds, gpu, system, library, nodes } = measurement;
    const hardware = { ...(gpu === '' ? {} : { gpu }), system, library };
    const found = lookup.find({ op, ranks, bytes, nodes: nodes ?? 1, ...hardware });
    if ('unknown' in found) {
      unpricedRows.push({ measurement, why: found.why });
      continue;
    }
    const naive = naiveSeconds(calibration.series, { gpu, system, library, op, ranks, nodes }, bytes);
    details.push({
      measurement,
      predictedSeconds: found.seconds,
      kind: found.kind,
      expectedError: found.expectedError,
      restsOn: found.restsOn,
      error: found.seconds / seconds - 1,
      naiveError: naive === undefined || Number.isNaN(naive) ? undefined : naive / seconds - 1,
    });
  }
  const groups = (key: (row: ValidationRow) => string): ErrorGroup[] =>
    [...groupBy(details, key)].map(([name, rows]) => ({ name, ...summarize(rows) }));
  return {
    ...summarize(details),
    unpriced: unpricedRows.length,
    unpricedRows,
    large: summarize(details.filter((row) => row.measurement.bytes >= mebibyte)),
    small: summarize(details.filter((row) => row.measurement.bytes < mebibyte)),
    byKind: groups((row) => row.kind),
    bySeries: groups((row) => describeKey(row.measurement)),
    details,
  };
}

/** Median and 90th percentile of absolute errors, ours and the naive predictor's. */
export function summarize(rows: readonly ValidationRow[]): ErrorSummary {
  const errors = rows.map((row) => Math.abs(row.error));
  const naive = rows.flatMap((row) => (row.naiveError === undefined ? [] : [Math.abs(row.naiveError)]));
  return {
    rows: rows.length,
    medianAbsoluteError: quantile(errors, 0.5),
    p90AbsoluteError: quantile(errors, 0.9),
    naiveMedianAbsoluteError: quantile(naive, 0.5),
    naiveP90AbsoluteError: quantile(naive, 0.9),
  };
}
