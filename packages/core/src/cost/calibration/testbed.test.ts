import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readMeasurementsCsv } from './csv.js';
import { fitCalibration } from './fit.js';
import { CalibrationLookup } from './lookup.js';
import type { Query } from './lookup.js';
import { busFactor } from './measurement.js';
import { paperTestbed } from './testbed.js';
import type { Testbed } from './testbed.js';

const name = 'nccl-inside-node.csv';
const text = readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');
const calibration = fitCalibration(readMeasurementsCsv(text, name).measurements).calibration;

const seconds = (bed: Testbed, which: keyof Testbed, query: Query): number => {
  const found = new CalibrationLookup(bed[which]).find(query);
  return 'unknown' in found ? Number.NaN : found.seconds;
};
const busGBs = (bed: Testbed, which: keyof Testbed, query: Query): number =>
  (query.bytes * busFactor(query.op, query.ranks)) / seconds(bed, which, query) / 1e9;

const bytes = 512 * 2 ** 20;
const gather: Query = { op: 'all_gather', ranks: 8, nodes: 1, bytes };
const exchange: Query = { op: 'all_to_all', ranks: 16, nodes: 2, bytes };

describe('paperTestbed', () => {
  const bed = paperTestbed(calibration, { nicsPerNode: 8 });

  it('has an A800 slower than the A100 by no more than the ratio of the links, and never faster than its own', () => {
    const a100 = new CalibrationLookup(calibration).find({ ...gather, gpu: 'A100' });
    const original = 'unknown' in a100 ? Number.NaN : a100.seconds;
    expect(seconds(bed, 'expected', gather) / original).toBeGreaterThan(1.4);
    expect(seconds(bed, 'expected', gather) / original).toBeLessThan(1.5);
    expect(seconds(bed, 'fastest', gather)).toBeGreaterThanOrEqual(original);
    for (const which of ['fastest', 'expected', 'slowest'] as const) {
      expect(busGBs(bed, which, gather)).toBeLessThan(200);
    }
  });

  it('brackets the estimate of A800 bandwidth that A100 efficiency gives (0.74 to 0.77 of 200 GB/s)', () => {
    expect(busGBs(bed, 'slowest', gather)).toBeLessThan(149);
    expect(busGBs(bed, 'fastest', gather)).toBeGreaterThan(149);
  });

  it('orders its bounds everywhere', () => {
    for (const query of [gather, exchange]) {
      for (let size = 1024; size < 2 ** 33; size *= 3) {
        const at = (which: keyof Testbed): number => seconds(bed, which, { ...query, bytes: size });
        expect(at('fastest')).toBeLessThanOrEqual(at('expected'));
        expect(at('expected')).toBeLessThanOrEqual(at('slowest'));
      }
    }
  });

  it('leaves the NIC count open: half the NICs, twice the time of large exchanges', () => {
    const four = paperTestbed(calibration, { nicsPerNode: 4 });
    expect(seconds(four, 'expected', exchange) / seconds(bed, 'expected', exchange)).toBeCloseTo(2, 6);
    // Pairs of one rank a node have a NIC of their own either way.
    const pair: Query = { op: 'all_to_all', ranks: 2, nodes: 2, bytes };
    expect(seconds(four, 'expected', pair)).toBe(seconds(bed, 'expected', pair));
    // Half of the buffer leaves every rank through its share of the NICs, at 0.79 of the line rate.
    expect(seconds(bed, 'expected', exchange)).toBeCloseTo(bytes / 2 / (25e9 * 0.8), 5);
  });

  it('never claims to be measured', () => {
    const all = [bed.expected, bed.fastest, bed.slowest].flatMap((c) => c.series);
    expect(all.every((s) => s.basis === 'derived' && s.addedError > 0.1)).toBe(true);
    expect(new CalibrationLookup(bed.expected).find(gather)).toMatchObject({ kind: 'carried' });
    expect(bed.expected.notes.join()).toContain('the paper does not say');
  });

  it('refuses what it cannot build', () => {
    expect(() => paperTestbed(calibration, { nicsPerNode: 0 })).toThrow(/0 NICs/u);
    expect(() => paperTestbed({ series: [], notes: [] }, { nicsPerNode: 8 })).toThrow(/no A100 series/u);
  });
});
