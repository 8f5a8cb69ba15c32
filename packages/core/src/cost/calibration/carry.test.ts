import { describe, expect, it } from 'vitest';
import { carryGpus, carryOps, carryRanks } from './carry.js';
import { expectedCarryError } from './carry-errors.js';
import { describeCoverage } from './coverage.js';
import { CalibrationLookup } from './lookup.js';
import type { MeasuredOp } from './measurement.js';
import type { Series, SeriesKey } from './series.js';

const sizes = Array.from({ length: 20 }, (_, i) => 2 ** (10 + i));

/** n - 1 rounds of a piece each: launch, hop and bandwidth. */
const ring = (ranks: number, bytes: number): number => 4e-6 + (ranks - 1) * (1.5e-6 + bytes / ranks / 200e9);

function series(
  op: MeasuredOp,
  ranks: number,
  seconds: (bytes: number) => number,
  change: Partial<Series> = {},
): Series {
  return {
    gpu: 'Foo',
    system: '',
    library: 'lib',
    op,
    ranks,
    nodes: 1,
    basis: 'measured',
    addedError: 0,
    sources: ['x'],
    points: sizes.map((bytes) => ({ bytes, seconds: seconds(bytes) })),
    ...change,
  };
}

const key = (op: MeasuredOp, ranks: number, change: Partial<SeriesKey> = {}): SeriesKey => ({
  gpu: 'Foo',
  system: '',
  library: 'lib',
  op,
  ranks,
  nodes: 1,
  ...change,
});

const ringSeries = (ranks: number): Series => series('all_gather', ranks, (bytes) => ring(ranks, bytes));

const reduce = (bytes: number): number => 3 * 5e-6 + (1.2 * bytes) / 100e9;
const gather = (bytes: number): number => 5e-6 + bytes / 100e9;

describe('carryRanks', () => {
  it('gives a ring back exactly, between and beyond the measured counts', () => {
    const all = [ringSeries(2), ringSeries(8)];
    for (const ranks of [3, 4, 6, 16]) {
      const carried = carryRanks(all, key('all_gather', ranks));
      expect(carried?.label).toBe(ranks < 8 ? 'ranks between uniform' : 'ranks beyond uniform');
      for (const { bytes, seconds } of carried?.points ?? []) expect(seconds / ring(ranks, bytes)).toBeCloseTo(1, 6);
    }
  });

  it('takes the nearest counts', () => {
    const odd = series('all_gather', 2, (bytes) => 5 * ring(2, bytes));
    const carried = carryRanks([odd, ringSeries(4), ringSeries(16), ringSeries(32)], key('all_gather', 8));
    expect(carried?.from.map((s) => s.ranks)).toEqual([4, 16]);
  });

  it('stays between the two where more ranks meet a slower link', () => {
    const slow = series('all_gather', 8, (bytes) => 10 * ring(8, bytes));
    const carried = carryRanks([ringSeries(2), slow], key('all_gather', 4));
    expect(carried?.label).toBe('ranks between uneven');
    for (const { bytes, seconds } of carried?.points ?? []) {
      expect(seconds).toBeGreaterThan(ring(2, bytes));
      expect(seconds).toBeLessThan(10 * ring(8, bytes) * 1.1);
    }
  });

  it('does not carry across hardware, systems, libraries, or from inside a node to across nodes', () => {
    const all = [ringSeries(2), ringSeries(8)];
    for (const change of [{ gpu: 'Bar' }, { system: 's' }, { library: 'l' }, { nodes: 2 }, { nodes: null }]) {
      expect(carryRanks(all, key('all_gather', 4, change))).toBeUndefined();
    }
    const across = [2, 4].map((nodes) => series('all_gather', 8 * nodes, (b) => ring(8 * nodes, b), { nodes }));
    expect(carryRanks(across, key('all_gather', 64, { nodes: 8 }))).toBeDefined();
    expect(carryRanks(across, key('all_gather', 32, { nodes: 8 }))).toBeUndefined();
  });
});

/** Half of the buffer leaves the node. */
const exchange = (bytes: number): number => 40e-6 + bytes / 2 / 20e9;

describe('all_to_all across nodes', () => {
  it('grows with the share that crosses: from 2 to 8 nodes of 8, seven quarters', () => {
    const carried = carryRanks([series('all_to_all', 16, exchange, { nodes: 2 })], key('all_to_all', 64, { nodes: 8 }));
    const last = carried?.points.at(-1);
    expect((last?.seconds ?? 0) / exchange(last?.bytes ?? 0)).toBeCloseTo(1.75, 1);
  });

  it('is not taken from a gather', () => {
    const gather = series('all_gather', 16, (b) => ring(16, b), { nodes: 2 });
    expect(carryOps([gather], key('all_to_all', 16, { nodes: 2 }))).toEqual([]);
    expect(carryOps([gather], key('reduce_scatter', 16, { nodes: 2 }))).toHaveLength(1);
  });
});

describe('carryOps', () => {
  it('learns latency and marginal cost from machines with both collectives', () => {
    const teacher = { gpu: 'Bar' };
    const all = [
      series('all_gather', 4, gather),
      series('all_gather', 4, (b) => 2 * gather(b), teacher),
      series('all_reduce', 4, (b) => 2 * reduce(b), teacher),
    ];
    const fitted = carryOps(all, key('all_reduce', 4)).find((c) => c.label.endsWith('fitted'));
    for (const { bytes, seconds } of fitted?.points ?? []) expect(seconds / reduce(bytes)).toBeCloseTo(1, 2);
    expect(fitted?.points).toHaveLength(sizes.length);
  });

  it('goes by the wire between gather and scatter where nothing was learnt', () => {
    const [only, more] = carryOps([ringSeries(8)], key('reduce_scatter', 8));
    expect(more).toBeUndefined();
    expect(only?.label).toBe('all_gather to reduce_scatter equal');
    const last = only?.points.at(-1);
    expect((last?.seconds ?? 0) / ring(8, last?.bytes ?? 0)).toBeCloseTo(1, 2);
  });
});

describe('carryGpus', () => {
  const a100 = series('all_gather', 8, (b) => ring(8, b), { gpu: 'NVIDIA A100-SXM4-80GB' });

  it('scales what is beyond the latency by the links of the family', () => {
    const [carried] = carryGpus([a100], key('all_gather', 8, { gpu: 'A800' }));
    const alpha = ring(8, 0);
    for (const { bytes, seconds } of carried?.points ?? []) {
      expect(seconds).toBeCloseTo(alpha + (ring(8, bytes) - alpha) * 1.5, 8);
    }
  });

  it('knows no other family, no PCIe card, no unlisted GPU', () => {
    for (const gpu of ['H100', 'NVIDIA A800-PCIE-80GB', 'Foo']) {
      expect(carryGpus([a100], key('all_gather', 8, { gpu }))).toEqual([]);
    }
  });
});

describe('CalibrationLookup', () => {
  const calibration = { series: [ringSeries(2), ringSeries(8)], notes: [] };
  const lookup = new CalibrationLookup(calibration);

  it('answers with the kind, the error and what it rests on', () => {
    expect(lookup.find({ op: 'all_gather', ranks: 8, nodes: 1, bytes: 2 ** 20 })).toMatchObject({
      kind: 'measured',
      seconds: ring(8, 2 ** 20),
    });
    expect(lookup.find({ op: 'all_gather', ranks: 8, nodes: 1, bytes: 3 * 2 ** 20 })).toMatchObject({
      kind: 'interpolated',
    });
    expect(lookup.find({ op: 'all_gather', ranks: 8, nodes: 1, bytes: 2 ** 33 })).toMatchObject({
      kind: 'extrapolated',
    });
    expect(lookup.find({ op: 'all_gather', ranks: 4, nodes: 1, bytes: 2 ** 20 })).toMatchObject({
      kind: 'carried',
      restsOn: [expect.stringContaining('from 2 and 8'), expect.any(String), expect.any(String)],
    });
  });

  it('says which series covers which collective and group, and which none does', () => {
    const across = series('all_to_all', 16, exchange, { nodes: 2, sources: ['across.log'] });
    const held = new CalibrationLookup({ series: [across, ringSeries(8)], notes: [] });
    expect(held.coverage('all_to_all', { ranks: 16, nodes: 2 })).toMatchObject({
      kind: 'measured',
      bytes: [sizes[0], sizes.at(-1)],
      sources: ['across.log'],
    });
    expect(held.coverage('all_to_all', { ranks: 64, nodes: 8 })).toMatchObject({
      kind: 'carried',
      from: [{ ranks: 16 }],
    });
    // a group inside a node: nothing of those across nodes says anything, but the gather there does
    expect(held.coverage('all_to_all', { ranks: 8, nodes: 1 })).toMatchObject({
      kind: 'carried',
      from: [{ op: 'all_gather' }],
    });
    const alone = new CalibrationLookup({ series: [across], notes: [] });
    for (const place of [
      { ranks: 8, nodes: 1 },
      { ranks: 16, nodes: 1 },
      { ranks: 16, nodes: 4 },
    ]) {
      const coverage = alone.coverage('all_to_all', place);
      expect(coverage.kind).toBe('none');
      expect(describeCoverage(coverage)).toMatch(/only all_to_all over 16 ranks on 2 nodes/u);
    }
    expect(alone.coverage('barrier', { ranks: 16, nodes: 2 }).kind).toBe('none');
  });

  it('says unknown, and why, instead of inventing', () => {
    const unknown = lookup.find({ op: 'all_gather', ranks: 16, nodes: 2, bytes: 1024 });
    expect(unknown).toMatchObject({ unknown: true, why: expect.stringContaining('only all_gather over 2 ranks') });
    const two = new CalibrationLookup({ series: [ringSeries(2), { ...ringSeries(2), gpu: 'Bar' }], notes: [] });
    expect(two.find({ op: 'all_gather', ranks: 2, nodes: 1, bytes: 9 })).toMatchObject({
      why: expect.stringContaining('name one of Foo, Bar'),
    });
    expect(two.find({ op: 'all_gather', ranks: 2, nodes: 1, bytes: 9000, gpu: 'foo' })).toHaveProperty('seconds');
  });

  it('serves the cost model', () => {
    expect(lookup.seconds('all_gather', { ranks: 8, nodes: 1 }, 2 ** 20)).toMatchObject({
      known: true,
      basis: 'measured',
      seconds: ring(8, 2 ** 20),
    });
    expect(lookup.seconds('all_gather', { ranks: 4, nodes: 1 }, 2 ** 20)).toMatchObject({ basis: 'scaled' });
    expect(lookup.seconds('barrier', { ranks: 8, nodes: 1 }, 8)).toMatchObject({ known: false });
  });

  it('expects of a carried curve no less error than its sources have', () => {
    const rough = series('all_gather', 8, (bytes) => ring(8, bytes) * (Math.log2(bytes) % 2 === 0 ? 1 : 1.4));
    const points = rough.points.map((p, i) => ({
      ...p,
      seconds: Math.max(p.seconds, rough.points[i - 1]?.seconds ?? 0),
    }));
    const carried = carryRanks([ringSeries(2), { ...rough, points }], key('all_gather', 4));
    expect(carried && expectedCarryError(carried, new Map([['ranks between uniform', 0.001]]))).toBeGreaterThan(0.05);
  });
});
