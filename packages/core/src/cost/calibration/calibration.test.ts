import { describe, expect, it } from 'vitest';
import { mergeCalibrations, readCalibration, writeCalibration } from './calibration.js';
import type { Calibration } from './calibration.js';
import type { Series } from './series.js';

const series = (change: Partial<Series> = {}): Series => ({
  gpu: 'H100 80GB HBM3',
  system: '',
  library: 'nccl 2.29.2',
  op: 'all_gather',
  ranks: 8,
  nodes: 1,
  basis: 'measured',
  addedError: 0,
  sources: ['a.txt:10-12'],
  points: [
    { bytes: 512, seconds: 1.01e-5 },
    { bytes: 2 ** 20, seconds: 1.71e-5 },
  ],
  ...change,
});

const calibration: Calibration = {
  series: [series(), series({ op: 'all_to_all', nodes: null, basis: 'derived', addedError: 0.2 })],
  notes: ['a "note"'],
};

const broken = (find: string | RegExp, put: string): (() => Calibration) => {
  const text = writeCalibration(calibration);
  expect(text).toMatch(find);
  return () => readCalibration(text.replace(find, put), 'c.json');
};

describe('calibration file', () => {
  it('reads what it writes', () => {
    expect(readCalibration(writeCalibration(calibration), 'c.json')).toEqual(calibration);
    expect(JSON.parse(writeCalibration(calibration))).toMatchObject({ format: 'monta-calibration', version: 1 });
  });

  it('refuses another format or version', () => {
    expect(broken('monta-calibration', 'else')).toThrow(expect.objectContaining({ path: 'format', file: 'c.json' }));
    expect(broken('"version": 1', '"version": 2')).toThrow(/version 2 is not known/u);
    expect(() => readCalibration('{', 'c.json')).toThrow(/cannot be read as JSON/u);
  });

  it('refuses what is something else, saying what makes a calibration', () => {
    for (const text of ['op,ranks\nall_gather,8\n', '{"name": "a package"}', 'null', '[1]']) {
      expect(() => readCalibration(text, 'c.json')).toThrow(
        expect.objectContaining({ message: expect.stringMatching(/is not a calibration/u) as string, file: 'c.json' }),
      );
    }
    expect(() => readCalibration(writeCalibration({ series: [], notes: [] }), 'c.json')).toThrow(/nothing in it/u);
  });

  it('refuses unknown keys, unknown collectives and wrong numbers, saying where', () => {
    expect(broken('"addedError"', '"addedErr"')).toThrow(expect.objectContaining({ path: 'series[0].addedErr' }));
    expect(broken('"all_gather"', '"gather"')).toThrow(expect.objectContaining({ path: 'series[0].op' }));
    expect(broken('"ranks":8', '"ranks":1')).toThrow(expect.objectContaining({ path: 'series[0].ranks' }));
    expect(broken('[512, ', '[0, ')).toThrow(expect.objectContaining({ path: 'series[0].points[0][0]' }));
    expect(broken('[512, ', '[5e9, ')).toThrow(/point 1 .* breaks the order/u);
    expect(broken('"op":"all_to_all","ranks":8,"nodes":null', '"op":"all_gather","ranks":8,"nodes":1')).toThrow(
      /twice/u,
    );
  });
});

describe('mergeCalibrations', () => {
  it('joins, prefers measured over derived, and puts two that agree together', () => {
    const derived = series({ basis: 'derived', addedError: 0.1 });
    const later = series({ sources: ['b.txt:1-2'] });
    const merged = mergeCalibrations([
      { series: [series(), series({ ranks: 4 })], notes: ['x'] },
      { series: [derived, later], notes: ['x', 'y'] },
    ]);
    expect(merged.series).toHaveLength(2);
    expect(merged.series[0]?.sources).toEqual(['a.txt:10-12', 'b.txt:1-2']);
    expect(merged.notes).toEqual(['x', 'y']);
    const measuredLast = mergeCalibrations([
      { series: [derived], notes: [] },
      { series: [series()], notes: [] },
    ]);
    expect(measuredLast.series[0]?.basis).toBe('measured');
  });

  it('refuses two that cannot be of one cluster', () => {
    const slow = series({ points: series().points.map((p) => ({ ...p, seconds: p.seconds * 3 })) });
    expect(() =>
      mergeCalibrations([
        { series: [series()], notes: [] },
        { series: [slow], notes: [] },
      ]),
    ).toThrow(/differ 3\.0 times/u);
  });
});

describe('calibrations of one cluster', () => {
  const line = (bytes: number): number => 10e-6 + bytes / 100e9;
  const part = (from: number, to: number, factor = 1, source = `${from}.txt`): Calibration => ({
    notes: [],
    series: [
      {
        gpu: 'H100',
        system: '',
        library: 'nccl',
        op: 'all_gather',
        ranks: 8,
        nodes: 1,
        basis: 'measured',
        addedError: 0,
        sources: [source],
        points: Array.from({ length: to - from + 1 }, (_, i) => ({
          bytes: 2 ** (from + i),
          seconds: factor * line(2 ** (from + i)),
        })),
      },
    ],
  });

  it('of small and of large sizes become one curve over both, whatever their order', () => {
    for (const [first, second] of [
      [part(10, 18), part(19, 28)],
      [part(19, 28), part(10, 18)],
    ] as const) {
      const { series } = mergeCalibrations([first, second]);
      expect(series).toHaveLength(1);
      expect(series[0]?.points).toEqual(part(10, 28).series[0]?.points);
      expect(series[0]?.sources).toHaveLength(2);
    }
  });

  it('that differ at sizes of both keep how far, and are refused where they cannot be of one cluster', () => {
    const { series } = mergeCalibrations([part(10, 20), part(18, 28, 1.2)]);
    const shared = series[0]?.points.filter(({ bytes }) => bytes >= 2 ** 18 && bytes <= 2 ** 20) ?? [];
    expect(shared.map(({ spread = 0 }) => spread)).toEqual(shared.map(() => expect.closeTo(Math.sqrt(1.2) - 1, 6)));
    expect(() => mergeCalibrations([part(10, 20), part(12, 28, 3)])).toThrow(/differ 3\.0 times/u);
    const between = part(10, 20, 3);
    const odd = between.series.map((s) => ({ ...s, points: s.points.map((p) => ({ ...p, bytes: p.bytes * 1.3 })) }));
    expect(() => mergeCalibrations([part(10, 22), { ...between, series: odd }])).toThrow(
      /differ 2\.\d times|differ 3/u,
    );
  });

  it('the same one twice is itself', () => {
    const one = part(10, 20);
    expect(mergeCalibrations([one, one]).series).toEqual(one.series);
  });
});
