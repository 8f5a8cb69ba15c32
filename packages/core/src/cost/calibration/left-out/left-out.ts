/** Parts of measurements are left out, predicted from the rest, and compared: the figures behind docs/accuracy.md. */
import { curveOf } from '../series.js';
import { fitCalibration } from '../fit.js';
import { gpuKey, linksOf } from '../gpus.js';
import { busBytesPerSecond, type MeasuredOp, type Measurement } from '../measurement.js';
import { naiveSeconds } from '../naive.js';
import { summarize, validate, type ErrorSummary, type Validation, type ValidationRow } from '../validate.js';

/** One experiment: what was left out, and how the predictions did. */
export interface LeftOut {
  readonly name: string;
  readonly rows: readonly ValidationRow[];
  readonly summary: ErrorSummary;
}

const leftOut = (name: string, rows: readonly ValidationRow[]): LeftOut => ({ name, rows, summary: summarize(rows) });

export const seriesOf = (m: Pick<Measurement, 'gpu' | 'system' | 'library' | 'op' | 'ranks' | 'nodes'>): string =>
  [m.gpu, m.system, m.library, m.op, m.ranks, m.nodes].join('|');

export function groupedBySeries(measurements: readonly Measurement[]): Map<string, Measurement[]> {
  const groups = new Map<string, Measurement[]>();
  for (const m of measurements) groups.set(seriesOf(m), [...(groups.get(seriesOf(m)) ?? []), m]);
  return groups;
}

export const mebibyte = 2 ** 20;

/** Every second size of each series, in order of size, and the others. */
export function halves(
  measurements: readonly Measurement[],
  fitted: 0 | 1,
): { readonly fitted: Measurement[]; readonly left: Measurement[] } {
  const sorted = [...groupedBySeries(measurements).values()].map((rows) => rows.sort((a, b) => a.bytes - b.bytes));
  const part = (parity: number): Measurement[] => sorted.flatMap((rows) => rows.filter((_, i) => i % 2 === parity));
  return { fitted: part(fitted), left: part(1 - fitted) };
}

/** Fits every second size of each series and predicts the others, once from 1 MiB up and once below. */
export function sizesLeftOut(name: string, measurements: readonly Measurement[], fitted: 0 | 1): LeftOut[] {
  const parts = halves(measurements, fitted);
  const { details } = validate(fitCalibration(parts.fitted).calibration, parts.left);
  const half = fitted === 0 ? '1st, 3rd, 5th … size fitted' : '2nd, 4th, 6th … size fitted';
  return [
    leftOut(
      `${name}, 1 MiB and up, ${half}`,
      details.filter((row) => row.measurement.bytes >= mebibyte),
    ),
    leftOut(
      `${name}, below 1 MiB, ${half}`,
      details.filter((row) => row.measurement.bytes < mebibyte),
    ),
  ];
}

/** Fits what `out` does not name and predicts the rest. */
function without(measurements: readonly Measurement[], out: (m: Measurement) => boolean): Validation {
  return validate(fitCalibration(measurements.filter((m) => !out(m))).calibration, measurements.filter(out));
}

/** One rank count left out of the machines that were measured with 2, 4 and 8; and 4 out of those with 2 alone. */
export function ranksLeftOut(inside: readonly Measurement[]): LeftOut[] {
  const complete = new Set(inside.filter((m) => m.ranks === 8).map((m) => m.gpu));
  const three = inside.filter((m) => complete.has(m.gpu));
  return [
    leftOut('4 ranks from 2 and 8', without(three, (m) => m.ranks === 4).details),
    leftOut('8 ranks from 2 and 4', without(three, (m) => m.ranks === 8).details),
    leftOut('2 ranks from 4 and 8', without(three, (m) => m.ranks === 2).details),
    leftOut(
      '4 ranks from 2',
      without(
        inside.filter((m) => m.ranks < 8),
        (m) => m.ranks === 4,
      ).details,
    ),
  ];
}

export const family = (gpu: string): string => linksOf(gpu)?.family ?? gpuKey(gpu);

/** One collective of one family of GPUs left out at a time; the other families keep theirs. */
export function collectivesLeftOut(inside: readonly Measurement[]): LeftOut[] {
  const ops: readonly MeasuredOp[] = ['all_gather', 'reduce_scatter', 'all_reduce', 'all_to_all'];
  const families = [...new Set(inside.map((m) => family(m.gpu)))];
  return ops.map((op) =>
    leftOut(
      `${op} from the other collectives`,
      families.flatMap((name) => without(inside, (m) => m.op === op && family(m.gpu) === name).details),
    ),
  );
}

/** One GPU left out whose family was measured on another. */
export function gpusLeftOut(inside: readonly Measurement[]): LeftOut[] {
  const names = [...new Set(inside.map((m) => m.gpu))];
  return names
    .filter((gpu) => names.some((other) => other !== gpu && family(other) === family(gpu)))
    .map((gpu) => leftOut(`${gpu} from its family`, without(inside, (m) => m.gpu === gpu).details));
}

/** Median absolute error by size, ours and the naive predictor's. */
export function errorsBySize(rows: readonly ValidationRow[]): { bytes: number; ours: number; naive: number }[] {
  const sizes = [...new Set(rows.map((row) => row.measurement.bytes))].sort((a, b) => a - b);
  return sizes.map((bytes) => {
    const summary = summarize(rows.filter((row) => row.measurement.bytes === bytes));
    return { bytes, ours: summary.p90AbsoluteError, naive: summary.naiveP90AbsoluteError };
  });
}

/** Series in which predictions were farthest off, by their 90th percentile. */
export function worstSeries(rows: readonly ValidationRow[], count: number): { name: string; summary: ErrorSummary }[] {
  const groups = new Map<string, ValidationRow[]>();
  for (const row of rows) {
    const { gpu, op, ranks } = row.measurement;
    const name = `${gpu}, ${op}, ${ranks} ranks`;
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups]
    .map(([name, members]) => ({ name, summary: summarize(members) }))
    .sort((a, b) => b.summary.p90AbsoluteError - a.summary.p90AbsoluteError)
    .slice(0, count);
}

/** Share of rows whose error was within what the prediction said to expect. */
export const withinExpected = (rows: readonly ValidationRow[]): number =>
  rows.filter((row) => Math.abs(row.error) <= row.expectedError).length / rows.length;

/** A series fitted at every second size: what was measured, and the curve, as bus bandwidth. */
export interface HalfFitted {
  readonly fitted: readonly (readonly [bytes: number, bytesPerSecond: number])[];
  readonly left: readonly (readonly [bytes: number, bytesPerSecond: number])[];
  readonly curve: readonly (readonly [bytes: number, bytesPerSecond: number])[];
  readonly naive: readonly (readonly [bytes: number, bytesPerSecond: number])[];
}

/**
 * all_gather over 4 B200, where time doubles from one size to the next: once with the size before the jump left out,
 * once with the one behind it.
 */
export function jumpFitted(inside: readonly Measurement[], fitted: 0 | 1): HalfFitted {
  const [op, ranks] = ['all_gather', 4] as const;
  const rows = inside.filter((m) => m.gpu === 'B200' && m.op === op && m.ranks === ranks && m.bytes >= mebibyte / 4);
  const parts = halves(rows, fitted);
  const [series] = fitCalibration(parts.fitted).calibration.series;
  if (series === undefined) throw new Error('the measurements of B200 with 4 ranks are gone');
  const curve = curveOf(series);
  const bandwidth = (bytes: number, seconds: number): readonly [number, number] => [
    bytes,
    busBytesPerSecond(op, ranks, bytes, seconds),
  ];
  const sizes = Array.from({ length: 81 }, (_, i) => 2 ** (19 + i / 10));
  const inRange = (m: Measurement): boolean => m.bytes >= 2 ** 19 && m.bytes <= 2 ** 27;
  return {
    fitted: parts.fitted.filter(inRange).map((m) => bandwidth(m.bytes, m.seconds)),
    left: parts.left.filter(inRange).map((m) => bandwidth(m.bytes, m.seconds)),
    curve: sizes.map((bytes) => bandwidth(bytes, curve.at(bytes).seconds)),
    naive: sizes.map((bytes) => bandwidth(bytes, naiveSeconds([series], series, bytes) ?? Number.NaN)),
  };
}
