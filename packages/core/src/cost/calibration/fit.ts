/**
 * From measurements to a calibration: groups rows into series, refuses nonsense naming the rows, fits a curve to each.
 */
import {
  formatBandwidth,
  formatPercent,
  formatSeconds,
  InputError,
  appendAll,
  maxOf,
  minOf,
} from '../../units/index.js';
import { disagreement } from './calibration.js';
import type { Calibration } from './calibration.js';
import { cleanPoints, trendOf } from './clean-points.js';
import { linkBound } from './link-bounds.js';
import { busFactor, place } from './measurement.js';
import type { Measurement } from './measurement.js';
import { curveOf, describeKey, keyText } from './series.js';
import type { Series } from './series.js';

/** One fitted series, for a table. */
export interface SeriesFit {
  readonly series: Series;
  readonly rows: number;
  /** Rows that contradict their neighbours and were left out. */
  readonly outliers: readonly Measurement[];
  /** Latency, seconds. */
  readonly alphaSeconds: number;
  /** Bus bandwidth that the largest sizes approach (marginal), bytes/s. */
  readonly busBytesPerSecond: number;
  /** Median error of sizes predicted from their neighbours, a share. */
  readonly interpolationError: number;
}

export interface Fit {
  readonly calibration: Calibration;
  readonly fits: readonly SeriesFit[];
  /** Series with too few sizes, rows left out. */
  readonly warnings: readonly string[];
}

/** Rows that cannot be true together, and why. */
export interface Nonsense {
  readonly problem: string;
  readonly rows: readonly Measurement[];
  readonly hint?: string;
}

/** Above the datasheet by more than this share is impossible; below it is rounding. */
const datasheetMargin = 1.05;

/** Two sources of one series that differ by more than this are not of one cluster. */
const sameClusterFactor = 1.5;

/**
 * Fits a calibration. Throws `InputError` naming the rows for: no rows at all, sizes or times that are not positive,
 * fewer than two ranks, bandwidths above what the datasheet allows, inside a node and over nodes, times that fall with
 * size beyond noise, and sources of one series that are plainly of different hardware.
 */
export function fitCalibration(measurements: readonly Measurement[]): Fit {
  if (measurements.length === 0)
    throw new InputError('there are no measurements', { expected: 'at least two sizes of one collective' });
  const nonsense = findNonsense(measurements);
  const [first] = nonsense;
  if (first !== undefined) throw refusal(first, nonsense.length - 1);
  const fits: SeriesFit[] = [];
  const warnings: string[] = [];
  for (const rows of groupBySeries(measurements)) {
    const [row] = rows;
    const { knots, outliers, noisy } = cleanPoints(rows);
    if (row === undefined || knots.length < 2) {
      if (row !== undefined) warnings.push(`${place(row)}: ${describeKey(row)} has one size only, left out`);
      continue;
    }
    const { gpu, system, library, op, ranks, nodes, groups } = row;
    const key = { gpu, system, library, op, ranks, nodes, ...(groups === undefined ? {} : { groups }) };
    const series: Series = { ...key, basis: 'measured', addedError: 0, sources: sourcesOf(rows), points: knots };
    const curve = curveOf(series);
    if (noisy) warnings.push(noiseOf(rows, curve.interpolationError));
    appendAll(warnings, repeatsApart(rows));
    const left = outliers.flatMap((i) => rows[i] ?? []);
    for (const m of left) {
      warnings.push(
        `${place(m)}: ${formatSeconds(m.seconds)} for ${m.bytes} bytes contradicts its neighbours, left out`,
      );
    }
    fits.push({
      series,
      rows: rows.length,
      outliers: left,
      alphaSeconds: curve.alphaSeconds,
      busBytesPerSecond: busFactor(op, ranks) / curve.betaSecondsPerByte,
      interpolationError: curve.interpolationError,
    });
  }
  if (fits.length === 0) {
    throw new InputError('no collective was measured at two sizes', {
      expected: 'at least two sizes of one collective',
    });
  }
  return { calibration: { series: fits.map((f) => f.series), notes: [] }, fits, warnings };
}

function refusal({ problem, rows, hint }: Nonsense, more: number): InputError {
  const [row] = rows;
  const list = rows.slice(0, 8).map(place).join(', ');
  const rest = rows.length > 8 ? ` and ${rows.length - 8} more` : '';
  const others = more > 0 ? `; ${more} more such finding${more === 1 ? '' : 's'}` : '';
  return new InputError(`${problem} (rows ${list}${rest}${others})`, {
    file: row?.source,
    line: row?.line,
    expected: 'times of one collective on one kind of hardware',
    hint: hint ?? 'correct or take out these rows',
  });
}

/** Everything in the rows that cannot be true; empty when there is nothing. */
export function findNonsense(measurements: readonly Measurement[]): Nonsense[] {
  const wrong = measurements.filter((m) => !(m.seconds > 0 && m.bytes > 0 && Number.isFinite(m.seconds + m.bytes)));
  const lonely = measurements.filter((m) => !(Number.isInteger(m.ranks) && m.ranks >= 2));
  const found: Nonsense[] = [];
  if (wrong.length > 0) found.push({ problem: 'sizes and times must be more than 0', rows: wrong });
  if (lonely.length > 0) found.push({ problem: 'a collective has at least 2 ranks', rows: lonely });
  if (found.length > 0) return found;
  return [
    ...tooFast(measurements),
    ...groupBySeries(measurements).flatMap((rows) => [...mixed(rows), ...falling(rows)]),
  ];
}

/** Faster than the links of the device carry, inside a node or over nodes. */
function tooFast(measurements: readonly Measurement[]): Nonsense[] {
  const rows = measurements.filter((m) => {
    const bound = linkBound(m);
    return bound !== undefined && m.seconds * datasheetMargin < m.bytes * bound.secondsPerByte;
  });
  const [row] = rows;
  const bound = row === undefined ? undefined : linkBound(row);
  if (row === undefined || bound === undefined) return [];
  const factor = busFactor(row.op, row.ranks);
  const bus = (row.bytes * factor) / row.seconds;
  const where = (row.nodes ?? 1) > 1 ? `over ${row.nodes} nodes` : 'inside a node';
  return [
    {
      problem:
        `${row.op} of ${row.bytes} bytes over ${row.ranks} ranks at ${formatBandwidth(bus)} of bus bandwidth is ` +
        'more than ' +
        `${bound.links} ${where} carry (${formatBandwidth(factor / bound.secondsPerByte)}; ${bound.source})`,
      rows,
      hint: 'check the unit of the times, the number of ranks, and that sizes are total buffers',
    },
  ];
}

/** Sources (and runs of one log) of one series that disagree so much that they cannot be of one cluster. */
function mixed(rows: readonly Measurement[]): Nonsense[] {
  const bySource = [...groupBy(rows, sourceOf).values()].map((list) => ({
    list,
    points: [...list].sort((a, b) => a.bytes - b.bytes),
  }));
  const pairs = bySource.flatMap((one, i) => bySource.slice(i + 1).map((other) => ({ one, other })));
  const [worst] = pairs
    .map((pair) => ({ ...pair, factor: disagreement(pair.one, pair.other) }))
    .sort((a, b) => b.factor - a.factor);
  const [row] = rows;
  if (row === undefined || worst === undefined || worst.factor <= sameClusterFactor) return [];
  const { one, other, factor } = worst;
  const names = [one, other].map(({ list }) => list[0]?.origin ?? '').filter((name) => name !== '');
  const which = new Set(names).size === 2 ? ` (${names.join('; ')})` : '';
  return [
    {
      problem:
        `two sources of ${describeKey(row)} differ ${factor.toFixed(1)} times${which}: that is mixed ` +
        'hardware, or another setting',
      rows: [...one.list.slice(0, 2), ...other.list.slice(0, 2)],
      hint: 'give each cluster a name of its own (--system)',
    },
  ];
}

const sourceOf = (m: Measurement): string => `${m.source}|${m.origin}`;

/** A trend below this is a fall, and no noise of messages so small that their size does not matter. */
const fallingTrend = -0.5;

/** Times that fall with size throughout. */
function falling(rows: readonly Measurement[]): Nonsense[] {
  const [row] = rows;
  const sizes = new Set(rows.map((m) => m.bytes)).size;
  if (row === undefined || sizes < 3 || !cleanPoints(rows).noisy || trendOf(rows) > fallingTrend) return [];
  return [
    {
      problem: `times of ${describeKey(row)} fall with size beyond noise`,
      rows: [...rows].sort((a, b) => b.bytes - a.bytes),
      hint: 'measure again on a quiet machine, or check that size and time are in the right columns',
    },
  ];
}

function noiseOf(rows: readonly Measurement[], error: number): string {
  const [row] = rows;
  const where = row === undefined ? '' : `${place(row)}: ${describeKey(row)}`;
  return (
    `${where}: so many times fall with size that none can be called wrong; levels between them are taken, ` +
    `with an expected error of ${formatPercent(error)}`
  );
}

/** Repeats of one size that lie this far apart are worth a word. */
const apart = 1.25;

/** Where repeats of a size differ: how far, where most, and from what runs. */
function repeatsApart(rows: readonly Measurement[]): string[] {
  const repeated = [...groupBy(rows, (m) => String(m.bytes)).values()].filter((list) => list.length > 1);
  const factors = repeated
    .map((list) => {
      const ordered = [...list].sort((a, b) => a.seconds - b.seconds);
      const [low, high] = [ordered[0], ordered.at(-1)];
      return low && high ? { low, high, factor: high.seconds / low.seconds } : undefined;
    })
    .filter((one) => one !== undefined && one.factor > apart)
    .sort((a, b) => (b?.factor ?? 0) - (a?.factor ?? 0));
  const [worst] = factors;
  if (worst === undefined) return [];
  const { low, high, factor } = worst;
  const runs = low.origin === high.origin ? '' : ` (${low.origin}; ${high.origin})`;
  return [
    `${place(high)}: ${formatSeconds(high.seconds)} for ${high.bytes} bytes, but ${formatSeconds(low.seconds)} at ` +
      `${place(low)}: ` +
      `${factor.toFixed(1)} times apart${runs}; ${factors.length} of ${repeated.length} repeated sizes differ by ` +
      'more than ' +
      `${formatPercent(apart - 1)}, the expected error is widened by it`,
  ];
}

/** Rows of one curve each, by key, in the order of their first rows. */
export function groupBySeries(measurements: readonly Measurement[]): Measurement[][] {
  return [...groupBy(measurements, keyText).values()];
}

export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** `file:first-last (origin)` of each source. */
function sourcesOf(rows: readonly Measurement[]): string[] {
  return [...groupBy(rows, sourceOf).values()].flatMap((list) => {
    const [row] = list;
    if (row === undefined) return [];
    const lines = list.map((m) => m.line);
    const range = `${row.source}:${minOf(lines)}-${maxOf(lines)}`;
    return row.origin === '' ? range : `${range} (${row.origin})`;
  });
}
