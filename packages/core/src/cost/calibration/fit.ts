/** From measurements to a calibration: groups rows into series, refuses nonsense naming the rows, fits a curve to each. */
import { formatBandwidth, formatSeconds, InputError } from '../../units/index.js';
import { disagreement } from './calibration.js';
import type { Calibration } from './calibration.js';
import { cleanPoints } from './curve.js';
import { linksOf } from './gpus.js';
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

/** Share of the sizes of a series that may contradict the rest before the whole is refused. */
const outlierShare = 0.25;

/**
 * Fits a calibration. Throws `InputError` naming the rows for: no rows at all, sizes or times that are not positive, fewer than two ranks,
 * bus bandwidths above what the GPU's datasheet allows inside a node, times that fall with size beyond noise, and sources of one series
 * that are plainly of different hardware.
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
    const { knots, outliers } = cleanPoints(rows);
    if (row === undefined || knots.length < 2) {
      if (row !== undefined) warnings.push(`${place(row)}: ${describeKey(row)} has one size only, left out`);
      continue;
    }
    const { gpu, system, library, op, ranks, nodes, groups } = row;
    const key = { gpu, system, library, op, ranks, nodes, ...(groups === undefined ? {} : { groups }) };
    const series: Series = { ...key, basis: 'measured', addedError: 0, sources: sourcesOf(rows), points: knots };
    const curve = curveOf(series);
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

/**
 * Rows faster than the datasheet's links allow. Within a node every rank of these collectives sends or receives at least busbw's bytes,
 * except that a switch that adds up (NVLS) halves what an all_reduce moves: there algbw is bounded.
 */
function tooFast(measurements: readonly Measurement[]): Nonsense[] {
  const rows = measurements.filter((m) => {
    const links = linksOf(m.gpu);
    if (links === undefined || (m.nodes ?? 1) !== 1) return false;
    const factor = m.op === 'all_reduce' ? 1 : busFactor(m.op, m.ranks);
    return (m.bytes * factor) / m.seconds > links.bytesPerSecond * datasheetMargin;
  });
  const [row] = rows;
  const links = row === undefined ? undefined : linksOf(row.gpu);
  if (row === undefined || links === undefined) return [];
  const bus = (row.bytes * busFactor(row.op, row.ranks)) / row.seconds;
  return [
    {
      problem:
        `${row.op} of ${row.bytes} bytes over ${row.ranks} ranks at ${formatBandwidth(bus)} of bus bandwidth is more than ` +
        `the links of ${links.name} inside a node carry (${formatBandwidth(links.bytesPerSecond)}; ${links.source})`,
      rows,
      hint: 'check the unit of the times, the number of ranks, and that sizes are total buffers',
    },
  ];
}

/** Sources of one series that disagree so much that they cannot be of one cluster. */
function mixed(rows: readonly Measurement[]): Nonsense[] {
  const bySource = [...groupBy(rows, (m) => `${m.source}|${m.origin}`).values()].map((list) => ({
    list,
    points: [...list].sort((a, b) => a.bytes - b.bytes),
  }));
  const [first] = bySource;
  const other = bySource.find((s) => first !== undefined && disagreement(first, s) > sameClusterFactor);
  const [row] = rows;
  if (first === undefined || other === undefined || row === undefined) return [];
  return [
    {
      problem: `two sources of ${describeKey(row)} differ ${disagreement(first, other).toFixed(1)} times: that is mixed hardware`,
      rows: [...first.list.slice(0, 2), ...other.list.slice(0, 2)],
      hint: 'give each cluster a name of its own (--system)',
    },
  ];
}

/** Times that fall with size in more places than single disturbed rows explain. */
function falling(rows: readonly Measurement[]): Nonsense[] {
  const { outliers } = cleanPoints(rows);
  const sizes = new Set(rows.map((m) => m.bytes)).size;
  const [row] = rows;
  if (row === undefined || outliers.length <= Math.max(1, sizes * outlierShare)) return [];
  return [
    {
      problem: `times of ${describeKey(row)} fall with size beyond noise`,
      rows: outliers.flatMap((i) => rows[i] ?? []),
      hint: 'measure again on a quiet machine, or check that size and time are in the right columns',
    },
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
  return [...groupBy(rows, (m) => `${m.source}|${m.origin}`).values()].flatMap((list) => {
    const [row] = list;
    if (row === undefined) return [];
    const lines = list.map((m) => m.line);
    const range = `${row.source}:${Math.min(...lines)}-${Math.max(...lines)}`;
    return row.origin === '' ? range : `${range} (${row.origin})`;
  });
}
