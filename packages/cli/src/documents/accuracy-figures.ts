/**
 * The figures behind docs/accuracy.md: parts of the published measurements are left out, predicted from the rest, and
 * compared.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  busBytesPerSecond,
  curveOf,
  fitCalibration,
  gpuKey,
  linksOf,
  naiveSeconds,
  paperTestbed,
  quantile,
  readMeasurementsCsv,
  summarize,
  validate,
  type Calibration,
  type ErrorSummary,
  type Measurement,
  type MeasuredOp,
  type Validation,
  type ValidationRow,
} from '@monta/core';

const fixtures = fileURLToPath(new URL('../../../core/src/cost/calibration/fixtures/', import.meta.url));

function read(name: string): readonly Measurement[] {
  return readMeasurementsCsv(readFileSync(`${fixtures}${name}`, 'utf8'), name).measurements;
}

/**
 * Collectives inside a node by seven GPUs, and results of 19 nccl-tests logs; both are in the repository, with their
 * sources.
 */
export const inside = read('nccl-inside-node.csv');
export const logs = read('nccl-tests-logs.csv');

/** One experiment: what was left out, and how the predictions did. */
export interface LeftOut {
  readonly name: string;
  readonly rows: readonly ValidationRow[];
  readonly summary: ErrorSummary;
}

const leftOut = (name: string, rows: readonly ValidationRow[]): LeftOut => ({ name, rows, summary: summarize(rows) });

export const seriesOf = (m: Pick<Measurement, 'gpu' | 'system' | 'library' | 'op' | 'ranks' | 'nodes'>): string =>
  [m.gpu, m.system, m.library, m.op, m.ranks, m.nodes].join('|');

function groupedBySeries(measurements: readonly Measurement[]): Map<string, Measurement[]> {
  const groups = new Map<string, Measurement[]>();
  for (const m of measurements) groups.set(seriesOf(m), [...(groups.get(seriesOf(m)) ?? []), m]);
  return groups;
}

const mebibyte = 2 ** 20;

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
export function ranksLeftOut(): LeftOut[] {
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
export function collectivesLeftOut(): LeftOut[] {
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
export function gpusLeftOut(): LeftOut[] {
  const names = [...new Set(inside.map((m) => m.gpu))];
  return names
    .filter((gpu) => names.some((other) => other !== gpu && family(other) === family(gpu)))
    .map((gpu) => leftOut(`${gpu} from its family`, without(inside, (m) => m.gpu === gpu).details));
}

/** How far two measurements of the same thing are apart: what no prediction can be nearer than. */
export interface Noise {
  readonly name: string;
  readonly rows: number;
  readonly median: number;
  readonly p90: number;
}

const noise = (name: string, differences: readonly number[]): Noise => ({
  name,
  rows: differences.length,
  median: quantile(differences, 0.5),
  p90: quantile(differences, 0.9),
});

/** Out of place against in place, the same run and size, with the usual ratio of the series taken off. */
export function placesApart(): Noise[] {
  const rows = [...groupedBySeries(logs).values()].flatMap((members) => {
    const both = members.flatMap((m) =>
      m.inPlaceSeconds === undefined ? [] : [{ bytes: m.bytes, ratio: m.seconds / m.inPlaceSeconds }],
    );
    const usual = quantile(
      both.map(({ ratio }) => ratio),
      0.5,
    );
    return both.map(({ bytes, ratio }) => ({ bytes, apart: Math.abs(ratio / usual - 1) }));
  });
  const part = (large: boolean): number[] =>
    rows.filter(({ bytes }) => bytes >= mebibyte === large).map(({ apart }) => apart);
  return [
    noise('logs, 1 MiB and up: out of place against in place, the same run', part(true)),
    noise('logs, below 1 MiB: the same', part(false)),
  ];
}

/** Machines whose links are the same by their datasheets, each against each, at equal collective, ranks and size. */
export function relativesApart(): Noise[] {
  const names = [...new Set(inside.map((m) => m.gpu))];
  const times = new Map(inside.map((m) => [`${m.gpu}|${m.op}|${m.ranks}|${m.bytes}`, m.seconds]));
  return names.flatMap((gpu, i) =>
    names
      .slice(i + 1)
      .filter((other) => family(other) === family(gpu))
      .map((other) => {
        const differences = inside
          .filter((m) => m.gpu === gpu)
          .flatMap((m) => {
            const seconds = times.get(`${other}|${m.op}|${m.ranks}|${m.bytes}`);
            return seconds === undefined ? [] : [Math.abs(seconds / m.seconds - 1)];
          });
        return noise(`inside a node, ${other} against ${gpu}: the same links by datasheet`, differences);
      }),
  );
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
export function jumpFitted(fitted: 0 | 1): HalfFitted {
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

/** Bus bandwidth of one series of the paper's testbed with its bounds. */
export interface TestbedCurve {
  readonly name: string;
  readonly points: readonly { bytes: number; expected: number; low: number; high: number }[];
}

export const nicCounts = [8, 4, 2] as const;

const a100 = (): Calibration => fitCalibration(inside.filter((m) => gpuKey(m.gpu) === 'A100')).calibration;

function testbedCurve({
  name,
  nicsPerNode,
  op,
  ranks,
  nodes,
}: {
  readonly name: string;
  readonly nicsPerNode: number;
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number;
}): TestbedCurve {
  const testbed = paperTestbed(a100(), { nicsPerNode });
  const curve = (calibration: Calibration) => {
    const found = calibration.series.find((s) => s.op === op && s.ranks === ranks && s.nodes === nodes);
    if (found === undefined) throw new Error(`no ${op} over ${ranks} ranks in the testbed`);
    return curveOf(found);
  };
  const [expected, fastest, slowest] = [curve(testbed.expected), curve(testbed.fastest), curve(testbed.slowest)];
  const bandwidth = (bytes: number, seconds: number): number => busBytesPerSecond(op, ranks, bytes, seconds);
  return {
    name,
    points: Array.from({ length: 29 }, (_, i) => 2 ** (16 + i / 2)).map((bytes) => ({
      bytes,
      expected: bandwidth(bytes, expected.at(bytes).seconds),
      low: bandwidth(bytes, slowest.at(bytes).seconds),
      high: bandwidth(bytes, fastest.at(bytes).seconds),
    })),
  };
}

/** all_to_all over both nodes by NIC count, and the gather inside a node that rebuilds the copies. */
export function testbedCurves(): TestbedCurve[] {
  return [
    testbedCurve({ name: 'all_gather in a node, 8 ranks', nicsPerNode: 4, op: 'all_gather', ranks: 8, nodes: 1 }),
    ...nicCounts.map((nics) =>
      testbedCurve({
        name: `all_to_all, 16 ranks, ${nics} NICs a node`,
        nicsPerNode: nics,
        op: 'all_to_all',
        ranks: 16,
        nodes: 2,
      }),
    ),
  ];
}
