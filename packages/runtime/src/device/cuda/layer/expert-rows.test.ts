import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketsOf, runsOfRanges, runsOfSegments } from './expert-rows.js';
import { closeRuns, fitWindows } from './padded-products.js';

const padding = 64;

/** Runs with gaps between them, as chunks have. */
const segmentsOf = fc
  .array(fc.record({ gap: fc.nat(40), rows: fc.integer({ min: 1, max: 300 }) }), { minLength: 1, maxLength: 20 })
  .map((runs) => {
    let row = 0;
    return Int32Array.from(
      runs.flatMap(({ gap, rows }, expert) => {
        row += gap + rows;
        return [expert, row - rows, rows];
      }),
    );
  });

describe('runs of rows of experts', () => {
  it('have windows that hold all their rows and none behind the last', () => {
    fc.assert(
      fc.property(segmentsOf, (segments) => {
        const all = runsOfSegments(segments, 20, padding);
        const last = segments[segments.length - 2] + segments[segments.length - 1];
        for (const { row, rows, window, paddedRows } of all.runs) {
          expect(paddedRows % padding).toBe(0);
          expect(paddedRows - rows).toBeLessThan(padding);
          expect(window).toBeLessThanOrEqual(row);
          expect(window + paddedRows).toBeGreaterThanOrEqual(row + rows);
          expect(window + paddedRows).toBeLessThanOrEqual(last);
        }
        expect(fitWindows(all)).toBe(all.runs.every(({ paddedRows }) => paddedRows <= last));
      }),
    );
  });

  it('fill a padded buffer one behind the other', () => {
    fc.assert(
      fc.property(segmentsOf, (segments) => {
        const { runs, paddedTotal, total } = runsOfSegments(segments, 20, padding);
        const ends = runs.map(({ padded, paddedRows }) => padded + paddedRows);
        expect(runs.map(({ padded }) => padded)).toEqual([0, ...ends.slice(0, -1)]);
        expect(paddedTotal).toBe(ends.at(-1));
        expect(total).toBe(runs.reduce((sum, { rows }) => sum + rows, 0));
      }),
    );
  });

  it('are close where one follows the other, an expert once', () => {
    const close = (...segments: number[]): boolean => closeRuns(runsOfSegments(Int32Array.from(segments), 8, padding));
    expect(close(0, 0, 5, 3, 5, 9)).toBe(true);
    expect(close(0, 0, 5, 3, 6, 9)).toBe(false);
    expect(close(0, 0, 5, 0, 5, 9)).toBe(false);
    expect(close(0, 1, 5)).toBe(false);
  });

  it('come into buckets of equal padded rows', () => {
    fc.assert(
      fc.property(segmentsOf, (segments) => {
        const all = runsOfSegments(segments, 20, padding);
        const { order, buckets } = bucketsOf(all);
        expect(order.toSorted((a, b) => a.expert - b.expert)).toEqual(all.runs);
        for (const { rows, start, count } of buckets)
          for (const run of order.slice(start, start + count)) expect(run.paddedRows).toBe(rows);
        expect(buckets.reduce((sum, { count }) => sum + count, 0)).toBe(order.length);
        expect(new Set(buckets.map(({ rows }) => rows)).size).toBe(buckets.length);
      }),
    );
  });

  it('of padded ranges lie where they lie', () => {
    const { runs, total, paddedTotal } = runsOfRanges({
      experts: 3,
      offsets: Int32Array.of(0, 64, 64, 192),
      counts: Int32Array.of(3, 0, 100),
    });
    expect(runs).toEqual([
      { expert: 0, row: 0, rows: 3, paddedRows: 64, window: 0, padded: 0 },
      { expert: 2, row: 64, rows: 100, paddedRows: 128, window: 64, padded: 64 },
    ]);
    expect([total, paddedTotal]).toEqual([103, 192]);
  });
});
