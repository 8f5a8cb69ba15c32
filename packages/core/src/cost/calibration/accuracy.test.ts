/**
 * What calibrations are worth on published figures (fixtures/): parts of them are left out, predicted, and compared,
 * with the naive predictor beside. The bounds are those that hold on these figures with a little room, so that a change
 * for the worse fails.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { carryErrors, publishedErrors } from './carry-errors.js';
import { publishedRatios } from './carry.js';
import { readMeasurementsCsv } from './csv.js';
import { fitCalibration, groupBy, groupBySeries } from './fit.js';
import { gpuKey, linksOf } from './gpus.js';
import { median, quantile } from '../../units/index.js';
import type { Measurement, MeasuredOp } from './measurement.js';
import { between, changeOverPaying } from './middle.js';
import { curveOf } from './series.js';
import type { Series } from './series.js';
import { summarize, validate } from './validate.js';
import type { ErrorSummary, Validation } from './validate.js';

const read = (name: string): readonly Measurement[] =>
  readMeasurementsCsv(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'), name).measurements;

const inside = read('nccl-inside-node.csv');
const logs = read('nccl-tests-logs.csv');

/** Fits every second size of each series, predicts the sizes between. */
function everySecond(measurements: readonly Measurement[], from: 0 | 1): Validation {
  const [fitted, left]: [Measurement[], Measurement[]] = [[], []];
  for (const rows of groupBySeries(measurements)) {
    rows.sort((a, b) => a.bytes - b.bytes).forEach((m, i) => (i % 2 === from ? fitted : left).push(m));
  }
  return validate(fitCalibration(fitted).calibration, left);
}

/** Fits what `out` does not name and predicts the rest. */
function leaveOut(measurements: readonly Measurement[], out: (m: Measurement) => boolean): Validation {
  const kept = measurements.filter((m) => !out(m));
  return validate(fitCalibration(kept).calibration, measurements.filter(out));
}

/** Where ours and the naive are one formula, they differ by what making points monotone does. */
const same = 1.005;

function expectNoWorse(summary: ErrorSummary): void {
  expect(summary.p90AbsoluteError).toBeLessThanOrEqual(same * summary.naiveP90AbsoluteError);
  expect(summary.medianAbsoluteError).toBeLessThanOrEqual(same * summary.naiveMedianAbsoluteError);
}

function expectBetter(summary: ErrorSummary): void {
  expect(summary.p90AbsoluteError).toBeLessThan(summary.naiveP90AbsoluteError);
  expect(summary.medianAbsoluteError).toBeLessThanOrEqual(summary.naiveMedianAbsoluteError);
}

const family = (gpu: string): string => linksOf(gpu)?.family ?? gpuKey(gpu);
const alpha = (s: Series): number => curveOf(s).alphaSeconds;
const beta = (s: Series): number => curveOf(s).betaSecondsPerByte;

describe('the figures themselves', () => {
  it('are accepted whole', () => {
    expect(inside).toHaveLength(1596);
    expect(logs).toHaveLength(430);
    expect(fitCalibration([...inside, ...logs]).fits).toHaveLength(76 + 19);
  });
});

describe('sizes left out', () => {
  // [figures, which half is fitted, median and 90th percentile from 1 MiB, median below]
  const cases = [
    [inside, 0, 0.02, 0.1, 0.02],
    [inside, 1, 0.02, 0.09, 0.02],
    [logs, 0, 0.017, 0.1, 0.012],
    [logs, 1, 0.015, 0.11, 0.015],
    [[...inside, ...logs], 0, 0.02, 0.1, 0.02],
    [[...inside, ...logs], 1, 0.02, 0.1, 0.02],
  ] as const;
  it.each(cases)('case %#: near, and nearer than log-log lines', (measurements, from, large, tail, small) => {
    const result = everySecond(measurements, from);
    expect(result.large.medianAbsoluteError).toBeLessThan(large);
    expect(result.large.p90AbsoluteError).toBeLessThan(tail);
    expect(result.small.medianAbsoluteError).toBeLessThan(small);
    expectBetter(result.large);
    expectBetter(result.small);
    const between = result.details.filter((row) => row.kind === 'interpolated');
    const honest = between.filter((row) => Math.abs(row.error) <= row.expectedError).length / between.length;
    expect(honest).toBeGreaterThan(0.5);
    expect(honest).toBeLessThan(0.8);
  });
});

describe('rank counts left out', () => {
  const withEight = new Set(inside.filter((m) => m.ranks === 8).map((m) => m.gpu));
  const three = inside.filter((m) => withEight.has(m.gpu));
  it.each([
    [4, 0.04, 0.22],
    [8, 0.065, 0.36],
    [2, 0.08, 0.43],
  ])('%i ranks: beats the bus bandwidth of the nearest count', (ranks, middle, tail) => {
    const result = leaveOut(three, (m) => m.ranks === ranks);
    expect(result.unpriced).toBe(0);
    expect(result.medianAbsoluteError).toBeLessThan(middle);
    expect(result.p90AbsoluteError).toBeLessThan(tail);
    expectBetter(result);
  });

  it('4 ranks from 2 alone', () => {
    const result = leaveOut(
      inside.filter((m) => m.ranks < 8),
      (m) => m.ranks === 4,
    );
    expect(result.medianAbsoluteError).toBeLessThan(0.17);
    expectBetter(result);
  });
});

describe('collectives left out', () => {
  const bounds: [MeasuredOp, number, number][] = [
    ['all_gather', 0.04, 0.13],
    ['reduce_scatter', 0.035, 0.115],
    ['all_reduce', 0.065, 0.155],
    ['all_to_all', 0.135, 0.335],
  ];
  it.each(bounds)('%s of one family of GPUs: beats the bus bandwidth of another collective', (op, middle, tail) => {
    const details = [...new Set(inside.map((m) => family(m.gpu)))].flatMap(
      (name) => leaveOut(inside, (m) => m.op === op && family(m.gpu) === name).details,
    );
    const summary = summarize(details);
    expect(summary.rows).toBe(399);
    expect(summary.medianAbsoluteError).toBeLessThan(middle);
    expect(summary.p90AbsoluteError).toBeLessThan(tail);
    expectBetter(summary);
  });

  // between collectives of pieces that is equal bus bandwidth, as the naive carry has it
  const alone: typeof bounds = [
    ['all_gather', 0.04, 0.13],
    ['reduce_scatter', 0.04, 0.13],
    ['all_reduce', 0.065, 0.155],
    ['all_to_all', 0.14, 0.38],
  ];
  it.each(alone)('%s of all machines, with the published ratios alone', (op, middle, tail) => {
    const result = leaveOut(inside, (m) => m.op === op);
    expect(result.unpriced).toBe(0);
    expect(result.medianAbsoluteError).toBeLessThan(middle);
    expect(result.p90AbsoluteError).toBeLessThan(tail);
    expectNoWorse(result);
  });
});

describe('one machine by itself', () => {
  const machines = [...groupBy([...inside, ...logs], (m) => [m.gpu, m.system, m.library].join('|')).values()];
  const sweeps = machines.flatMap((rows) => [rows, ...groupBy(rows, (m) => `${m.ranks}|${m.nodes}`).values()]);
  const cases = sweeps.flatMap((rows) => [...new Set(rows.map((m) => m.op))].map((op) => ({ rows, op })));

  it('a collective that it did not measure is never predicted worse than by the naive carry', () => {
    let compared = 0;
    for (const { rows, op } of cases) {
      const kept = rows.filter((m) => m.op !== op);
      if (kept.length === 0) continue;
      const carried = validate(
        fitCalibration(kept).calibration,
        rows.filter((m) => m.op === op),
      ).details.filter((row) => row.kind === 'carried' && row.naiveError !== undefined);
      if (carried.length === 0) continue;
      compared++;
      expectNoWorse(summarize(carried));
    }
    expect(compared).toBeGreaterThan(80);
  });
});

describe('constants in the code', () => {
  const { series } = fitCalibration(inside).calibration;

  it('publishedErrors are what leaving out gives', () => {
    const spread = carryErrors(fitCalibration(logs).calibration.series);
    const across = [...spread].filter(([label]) => label.endsWith('across nodes'));
    const found = new Map([...carryErrors(series), ...across]);
    expect([...found.keys()].sort()).toEqual(Object.keys(publishedErrors).sort());
    for (const [label, error] of found) expect(publishedErrors[label]).toBeCloseTo(error, 2);
  });

  it('changes of protocol come long before they pay', () => {
    // Steps of time from 1 MiB that a flat stretch follows; old and new line through two points each.
    const ratios = groupBySeries([...inside, ...logs]).flatMap((rows) => {
      rows.sort((a, b) => a.bytes - b.bytes);
      return rows.flatMap((right, i) => {
        const [before, left, after] = [rows[i - 2], rows[i - 1], rows[i + 1]];
        if (!before || !left || !after || rows[i + 2] === undefined || right.bytes < 2 ** 20) return [];
        const power = (a: Measurement, b: Measurement): number =>
          Math.log(b.seconds / a.seconds) / Math.log(b.bytes / a.bytes);
        if (power(left, right) < 0.8 || power(right, after) > 0.5) return [];
        const slope = (a: Measurement, b: Measurement): number => (b.seconds - a.seconds) / (b.bytes - a.bytes);
        const paying =
          (between(right, after, 0) - between(before, left, 0)) / (slope(before, left) - slope(right, after));
        return paying > 0 ? Math.sqrt(left.bytes * right.bytes) / paying : [];
      });
    });
    expect(ratios).toHaveLength(28);
    expect(median(ratios)).toBeCloseTo(changeOverPaying, 2);
    expect(quantile(ratios, 0.1)).toBeCloseTo(0.21, 1);
    expect(quantile(ratios, 0.9)).toBeCloseTo(0.55, 1);
  });

  const pairs = (a: [MeasuredOp, number], b: [MeasuredOp, number], value: (s: Series) => number): number =>
    median(
      series.flatMap((s) => {
        if (s.op !== a[0] || s.ranks !== a[1]) return [];
        const other = series.find((o) => o.gpu === s.gpu && o.op === b[0] && o.ranks === b[1]);
        return other === undefined ? [] : [value(other) / value(s)];
      }),
    );
  it.each(['all_gather', 'reduce_scatter', 'all_to_all', 'all_reduce'] as const)('ratios of %s', (op) => {
    const ratios = publishedRatios[op];
    expect(pairs(['all_gather', 2], [op, 2], alpha) / ratios.latencyOfTwo).toBeCloseTo(1, 1);
    expect(Math.sqrt(pairs([op, 2], [op, 8], alpha)) / ratios.latencyPerDoubling).toBeCloseTo(1, 1);
    if (op === 'all_to_all') return; // left at 1 on purpose
    const wire = op === 'all_reduce' ? 2 : 1;
    const marginal = [2, 4, 8].map((n) => pairs(['all_gather', n], [op, n], beta) / wire);
    expect(median(marginal) / ratios.perWireByte).toBeCloseTo(1, 1);
  });
});
