import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanPoints, trendOf } from './clean-points.js';
import { maxOf, minOf } from '../../units/index.js';

const powers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));
const alphaBeta = (bytes: number): number => 12e-6 + bytes / 150e9;

const anyPoints = fc
  .uniqueArray(
    fc.record({ bytes: fc.integer({ min: 1, max: 2 ** 34 }), seconds: fc.double({ min: 1e-6, max: 1, noNaN: true }) }),
    { selector: (p) => p.bytes, minLength: 2, maxLength: 30 },
  )
  .map((points) => points.sort((a, b) => a.bytes - b.bytes));

describe('cleanPoints', () => {
  const clean = powers(10, 26).map((bytes) => ({ bytes, seconds: alphaBeta(bytes) }));

  it('loses one wrong point alone, slow or fast', () => {
    for (const factor of [0.05, 40]) {
      const points = clean.map((p, i) => (i === 12 ? { ...p, seconds: p.seconds * factor } : p));
      const { knots, outliers } = cleanPoints(points);
      expect(outliers).toEqual([12]);
      expect(knots).toEqual(clean.filter((_, i) => i !== 12));
    }
  });

  it('replaces a disturbed out-of-place time by the in-place one', () => {
    const points = clean.map((p, i) => ({
      ...p,
      inPlaceSeconds: p.seconds,
      ...(i === 15 ? { seconds: p.seconds * 1.5 } : {}),
    }));
    expect(cleanPoints(points).knots[15]?.seconds).toBeCloseTo(alphaBeta(2 ** 25), 9);
  });

  it('takes the median of repeated sizes', () => {
    const points = [1, 100, 1.1].map((f) => ({ bytes: 1024, seconds: 1e-5 * f }));
    const { knots } = cleanPoints([...points, { bytes: 2048, seconds: 2e-5 }]);
    expect(knots[0]?.seconds).toBeCloseTo(1.1e-5, 12);
  });

  it('keeps sizes rising and times not falling, and leaves out nothing that is in order', () => {
    fc.assert(
      fc.property(anyPoints, (points) => {
        const { knots, outliers } = cleanPoints(points);
        const ordered = knots.slice(1).every((knot, i) => {
          const before = knots[i];
          return before !== undefined && knot.bytes > before.bytes && knot.seconds >= before.seconds;
        });
        expect(ordered).toBe(true);
        expect(knots.length + outliers.length).toBe(points.length);
        const sorted = points.map((p) => p.seconds).sort((a, b) => a - b);
        const inOrder = points.map((p, i) => ({ bytes: p.bytes, seconds: sorted[i] ?? 0 }));
        expect(cleanPoints(inOrder).outliers).toEqual([]);
      }),
    );
  });

  it('keeps how far repeats of a size differ, and nothing where they agree', () => {
    fc.assert(
      fc.property(fc.double({ min: 1.01, max: 50, noNaN: true }), (factor) => {
        const at = 2 ** 18;
        const twice = [...clean, { bytes: at, seconds: alphaBeta(at) * factor }];
        const knot = cleanPoints(twice).knots.find(({ bytes }) => bytes === at);
        // both lie off their middle by the root of the factor, at least: the neighbours may say that the slower was
        // disturbed
        expect(knot?.spread ?? Infinity).toBeGreaterThanOrEqual(Math.sqrt(factor) - 1 - 1e-9);
      }),
      { seed: 2, numRuns: 100 },
    );
    expect(cleanPoints([...clean, ...clean]).knots.every(({ spread }) => spread === undefined)).toBe(true);
  });

  it('keeps a sweep whose small messages are noise: levels between them, and their spread', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1, max: 8, noNaN: true }), { minLength: 12, maxLength: 12 }), (noise) => {
        const points = clean.map((p, i) => ({ ...p, seconds: p.seconds * (noise[i] ?? 1) }));
        const { knots, noisy } = cleanPoints(points);
        const large = knots.filter(({ bytes }) => bytes >= 2 ** 24);
        expect(large.length).toBeGreaterThan(0);
        if (!noisy) return;
        expect(knots).toHaveLength(points.length);
        const lowest = minOf(points.map((p) => p.seconds));
        expect(knots[0]?.seconds ?? 0).toBeGreaterThanOrEqual(lowest);
        const off = points.filter((p, i) => Math.abs(Math.log(p.seconds / (knots[i]?.seconds ?? 0))) > 0.5).length;
        expect(off > 3 ? maxOf(knots.map(({ spread = 0 }) => spread)) : 1).toBeGreaterThan(0.2);
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  it('levels are those of isotonic regression: the mean logarithm of each block', () => {
    const times = [9, 1, 8, 2, 7, 3, 30, 20];
    const { knots, noisy } = cleanPoints(times.map((seconds, i) => ({ bytes: 2 ** i, seconds })));
    expect(noisy).toBe(true);
    const level = (list: number[]): number => Math.exp(list.reduce((a, b) => a + Math.log(b), 0) / list.length);
    // blocks found by hand: 9 1 | 8 2 | 7 3 | 30 20, of which the means already rise
    const expected = [
      [9, 1],
      [8, 2],
      [7, 3],
      [30, 20],
    ].flatMap((list) => list.map(() => level(list)));
    knots.forEach((knot, i) => expect(knot.seconds).toBeCloseTo(expected[i] ?? 0, 9));
  });
});

describe('trendOf', () => {
  it('is 1, -1 and between', () => {
    const of = (times: number[]): number => trendOf(times.map((seconds, i) => ({ bytes: i + 1, seconds })));
    expect([of([1, 2, 3]), of([3, 2, 1]), of([2, 1, 3])]).toEqual([1, -1, 1 / 3]);
  });
});
