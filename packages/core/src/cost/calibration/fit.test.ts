import { describe, expect, it } from 'vitest';
import { InputError } from '../../units/index.js';
import { findNonsense, fitCalibration } from './fit.js';
import type { Measurement } from './measurement.js';

const sizes = Array.from({ length: 16 }, (_, i) => 2 ** (12 + i));

/** A series of an alpha-beta link. */
function series(
  change: Partial<Measurement> = {},
  seconds = (bytes: number): number => 10e-6 + bytes / 200e9,
): Measurement[] {
  return sizes.map((bytes, i) => ({
    source: 'log.txt',
    line: i + 10,
    origin: '',
    gpu: 'NVIDIA H100 80GB HBM3',
    system: '',
    library: 'nccl',
    op: 'all_gather',
    ranks: 8,
    nodes: 1,
    bytes,
    seconds: seconds(bytes),
    ...change,
  }));
}

describe('fitCalibration', () => {
  it('recovers latency and bus bandwidth', () => {
    const { fits, warnings } = fitCalibration(series());
    expect(warnings).toEqual([]);
    expect(fits).toHaveLength(1);
    expect(fits[0]?.alphaSeconds).toBeCloseTo(10e-6, 8);
    expect((fits[0]?.busBytesPerSecond ?? 0) / (200e9 * 0.875)).toBeCloseTo(1, 6);
    expect(fits[0]?.series.sources).toEqual(['log.txt:10-25']);
  });

  it('keeps hardware, systems, libraries, collectives and rank counts apart', () => {
    const all = [
      series(),
      series({ gpu: 'A100-SXM4-80GB' }),
      series({ system: 'b' }),
      series({ library: 'nccl 2.20' }),
      series({ op: 'all_to_all' }),
      series({ ranks: 4 }),
      series({ ranks: 16, nodes: 2 }),
    ].flat();
    expect(fitCalibration(all).calibration.series).toHaveLength(7);
  });

  it('leaves one outlier out and names it', () => {
    const rows = series().map((m, i) => (i === 9 ? { ...m, seconds: m.seconds * 30 } : m));
    const { fits, warnings } = fitCalibration(rows);
    expect(fits[0]?.outliers.map((m) => m.line)).toEqual([19]);
    expect(warnings.join()).toContain('log.txt:19');
    expect(fits[0]?.alphaSeconds).toBeCloseTo(10e-6, 8);
  });

  it('leaves out a series of one size, and says so', () => {
    const one = series({ op: 'all_to_all' }).slice(0, 1);
    expect(fitCalibration([...series(), ...one]).warnings.join()).toContain('one size only');
    expect(() => fitCalibration(one)).toThrow(InputError);
    expect(() => fitCalibration([])).toThrow(InputError);
  });
});

describe('nonsense', () => {
  it('is refused with its rows: zero and negative', () => {
    const rows = series().map((m, i) => (i === 3 ? { ...m, seconds: 0 } : i === 4 ? { ...m, bytes: -1 } : m));
    expect(() => fitCalibration(rows)).toThrow(/more than 0 \(rows log\.txt:13, log\.txt:14\)/u);
  });

  it('is refused: more bandwidth than the port has', () => {
    const rows = series({}, (bytes) => 1e-6 + bytes / 800e9);
    expect(() => fitCalibration(rows)).toThrow(/more than the links of H100 inside a node carry \(450 GB\/s/u);
    // The same times on a GPU that can do it, and on one that nobody listed, are fine.
    expect(findNonsense(rows.map((m) => ({ ...m, gpu: 'B200' })))).toEqual([]);
    expect(findNonsense(rows.map((m) => ({ ...m, gpu: 'Foo 9000' })))).toEqual([]);
  });

  it('allows an all_reduce that switches add up, whose bus bandwidth exceeds the port', () => {
    const rows = series({ op: 'all_reduce' }, (bytes) => 10e-6 + bytes / 280e9);
    expect(findNonsense(rows)).toEqual([]);
  });

  it('is refused: times that fall with size', () => {
    const rows = series({}, (bytes) => 1e5 / bytes);
    expect(() => fitCalibration(rows)).toThrow(/fall with size beyond noise \(rows log\.txt:/u);
  });

  it('is not: small messages that are nothing but noise; the sweep is kept, with a wider error and a word', () => {
    const noise = [3, 1, 2.5, 1.2, 2, 1, 2.2, 1.1, 2.6, 1.4];
    const rows = series({}, (bytes) => 10e-6 * (noise[Math.log2(bytes) - 12] ?? 1) + bytes / 200e9);
    const { fits, warnings } = fitCalibration(rows);
    expect(warnings.join()).toMatch(/log\.txt:10: .*so many times fall with size that none can be called wrong/u);
    expect(fits[0]?.interpolationError).toBeGreaterThan(0.1);
    expect((fits[0]?.busBytesPerSecond ?? 0) / (200e9 * 0.875)).toBeCloseTo(1, 1);
  });

  it('names repeats that lie far apart, their runs, and in how many sizes', () => {
    const again = series({ origin: 'run 2 of 2' }).map((m, i) =>
      i > 11 ? { ...m, line: m.line + 90, seconds: m.seconds * 5 } : m,
    );
    const { warnings } = fitCalibration([...series({ origin: 'run 1 of 2' }), ...again]);
    expect(warnings.join()).toMatch(
      /log\.txt:1\d\d: .* for \d+ bytes, but .* at log\.txt:2\d: 5\.0 times apart \(run 1 of 2; run 2 of 2\); 4 of 16/u,
    );
  });

  it('is refused: any two of three sources that differ', () => {
    const shifted = (source: string, factor: number): Measurement[] =>
      series({ source }, (bytes) => factor * (10e-6 + bytes / 200e9));
    const three = [...shifted('a.txt', 1.3), ...shifted('b.txt', 1), ...shifted('c.txt', 1.6)];
    expect(() => fitCalibration(three)).toThrow(/differ 1\.6 times.*b\.txt:10.*c\.txt:10/u);
  });

  it('is not: noise of a few percent on a flat stretch', () => {
    const rows = series({}, (bytes) => 20e-6 * (1 + 0.05 * Math.sin(bytes)) + bytes / 300e9);
    expect(findNonsense(rows)).toEqual([]);
  });

  it('is refused: one series from two clusters, until they have names', () => {
    const other = series({ source: 'other.txt', nodes: 1 }, (bytes) => 30e-6 + bytes / 40e9);
    expect(() => fitCalibration([...series(), ...other])).toThrow(
      /mixed hardware, or another setting \(rows log\.txt:10.*other\.txt:10/u,
    );
    const named = other.map((m) => ({ ...m, system: 'other' }));
    expect(fitCalibration([...series(), ...named]).fits).toHaveLength(2);
  });

  it('is refused: a group of one', () => {
    expect(() => fitCalibration(series({ ranks: 1 }))).toThrow(/at least 2 ranks/u);
  });
});
