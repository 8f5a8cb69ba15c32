/** Beyond the measured sizes: published series and made ones, their ends cut off and predicted. */
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quantile } from '../../units/index.js';
import { Curve } from './curve.js';
import { readMeasurementsCsv } from './csv.js';
import { fitCalibration, groupBySeries } from './fit.js';
import { linkBound } from './link-bounds.js';
import type { Measurement } from './measurement.js';
import { curveOf } from './series.js';

const read = (name: string): readonly Measurement[] =>
  readMeasurementsCsv(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'), name).measurements;
const published = groupBySeries([...read('nccl-inside-node.csv'), ...read('nccl-tests-logs.csv')]).map((rows) =>
  [...rows].sort((a, b) => a.bytes - b.bytes),
);

interface Outside {
  readonly octaves: number;
  readonly error: number;
  readonly expected: number;
}

/** Rows that were cut off, predicted from the rest. */
function cutOff(side: 'above' | 'below'): Outside[] {
  return published.flatMap((rows) =>
    [2, 4, 6, 8].flatMap((cut) => {
      if (rows.length - cut < 3) return [];
      const [kept, out] =
        side === 'above' ? [rows.slice(0, -cut), rows.slice(-cut)] : [rows.slice(cut), rows.slice(0, cut)];
      const [series] = fitCalibration(kept).calibration.series;
      const end = (side === 'above' ? kept.at(-1) : kept[0])?.bytes ?? 0;
      return out.flatMap((m) => {
        if (series === undefined) return [];
        const { seconds, expectedError } = curveOf(series).at(m.bytes);
        const octaves = Math.round(Math.abs(Math.log2(m.bytes / end)));
        return { octaves, error: Math.abs(seconds / m.seconds - 1), expected: expectedError };
      });
    }),
  );
}

describe.each(['above', 'below'] as const)('%s the published sizes', (side) => {
  const rows = cutOff(side);

  it('most errors are within the expected ones, at every distance', () => {
    expect(rows.length).toBeGreaterThan(1500);
    for (let octaves = 1; octaves <= 8; octaves++) {
      const far = rows.filter((row) => row.octaves === octaves);
      expect(far.filter((row) => row.error <= row.expected).length / far.length).toBeGreaterThan(0.6);
    }
  });

  it('a quarter of them is met within about 1 % for each octave', () => {
    const first = rows.filter((row) => row.octaves === 1).map((row) => row.error);
    expect(quantile(first, 0.25)).toBeGreaterThan(0.005);
    expect(quantile(first, 0.25)).toBeLessThan(0.015);
  });
});

describe('every published series', () => {
  it('expects errors that grow with the distance, and no bandwidth above the datasheet of its links', () => {
    for (const rows of published) {
      const [series] = fitCalibration(rows).calibration.series;
      const [first] = rows;
      if (series === undefined || first === undefined) throw new Error('no series');
      const curve = curveOf(series);
      const [small, large] = [series.points[0]?.bytes ?? 0, series.points.at(-1)?.bytes ?? 0];
      const farther = Array.from({ length: 10 }, (_, i) => 1.5 ** (i + 1));
      for (const sizes of [farther.map((f) => large * f), farther.map((f) => small / f)]) {
        const errors = sizes.map((bytes) => curve.at(bytes).expectedError);
        errors.slice(1).forEach((error, i) => expect(error).toBeGreaterThan(errors[i] ?? Infinity));
      }
      const bound = linkBound(first)?.secondsPerByte ?? 0;
      for (const factor of farther) {
        const more = curve.at(large * factor * 2).seconds - curve.at(large * factor).seconds;
        expect(more).toBeGreaterThanOrEqual(large * factor * bound * (1 - 1e-9));
      }
    }
  });
});

describe('where the measured sizes are mostly latency', () => {
  it('the bandwidth is not guessed from noise: the truth is within the expected error, and no link is outrun', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 30e9, max: 440e9, noNaN: true }),
        fc.array(fc.double({ min: -0.03, max: 0.03, noNaN: true }), { minLength: 14, maxLength: 14 }),
        (bandwidth, noise) => {
          const time = (bytes: number): number => 40e-6 + (bytes * 7) / 8 / bandwidth;
          const knots: { bytes: number; seconds: number }[] = [];
          noise.forEach((share, i) => {
            const bytes = 2 ** (9 + i);
            knots.push({ bytes, seconds: Math.max(time(bytes) * (1 + share), knots.at(-1)?.seconds ?? 0) });
          });
          const leastSecondsPerByte = 7 / 8 / 450e9;
          const curve = new Curve(knots, { leastSecondsPerByte });
          const last = knots.at(-1) ?? { bytes: 0, seconds: 0 };
          for (const octaves of [1, 2, 4, 6]) {
            const bytes = last.bytes * 2 ** octaves;
            const { seconds, expectedError } = curve.at(bytes);
            expect(seconds).toBeGreaterThanOrEqual(last.seconds + leastSecondsPerByte * (bytes - last.bytes));
            const off = Math.max(seconds / time(bytes), time(bytes) / seconds) - 1;
            expect(off).toBeLessThan(1.5 * expectedError + 0.05);
          }
        },
      ),
      { seed: 8, numRuns: 300 },
    );
  });
});

describe('a step in the measured sizes', () => {
  it('is expected again within as many octaves, and does not lead the line astray', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.05, max: 1, noNaN: true }), fc.integer({ min: 3, max: 27 }), (step, place) => {
        // a linear sweep within a tenth of an octave, in which every byte becomes dearer at one place
        const knots = Array.from({ length: 31 }, (_, i) => {
          const bytes = 500 * 2 ** 20 + i * 2 ** 20;
          return { bytes, seconds: (bytes * (i < place ? 1 : 1 + step)) / 160e9 };
        });
        const curve = new Curve(knots);
        const double = curve.at(2 ** 30);
        expect(double.seconds / ((2 ** 30 * (1 + step)) / 160e9)).toBeCloseTo(1, 6);
        expect(double.expectedError).toBeGreaterThan(step * 0.999);
        const half = curve.at(2 ** 28);
        expect(half.seconds / (2 ** 28 / 160e9)).toBeCloseTo(1, 6);
        expect(half.expectedError).toBeGreaterThan(step * 0.999);
        expect((160e9 / (1 + step)) * curve.betaSecondsPerByte).toBeCloseTo(1, 6);
      }),
      { seed: 9, numRuns: 100 },
    );
  });
});
