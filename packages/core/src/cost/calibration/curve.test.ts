import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanPoints, Curve } from './curve.js';

const powers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));
const alphaBeta = (bytes: number): number => 12e-6 + bytes / 150e9;

const anyPoints = fc
  .uniqueArray(
    fc.record({ bytes: fc.integer({ min: 1, max: 2 ** 34 }), seconds: fc.double({ min: 1e-6, max: 1, noNaN: true }) }),
    { selector: (p) => p.bytes, minLength: 2, maxLength: 30 },
  )
  .map((points) => points.sort((a, b) => a.bytes - b.bytes));

describe('Curve', () => {
  it('gives alpha-beta back exactly, inside and outside of the points', () => {
    const curve = new Curve(powers(10, 28).map((bytes) => ({ bytes, seconds: alphaBeta(bytes) })));
    for (const bytes of [1, 777, 3 * 2 ** 15, 2 ** 27 + 5, 2 ** 33]) {
      expect(curve.at(bytes).seconds / alphaBeta(bytes)).toBeCloseTo(1, 9);
    }
    expect(1 / curve.betaSecondsPerByte / 150e9).toBeCloseTo(1, 9);
    expect(curve.alphaSeconds / 12e-6).toBeCloseTo(1, 5);
    expect(curve.interpolationError).toBeCloseTo(0, 9);
  });

  it('says what an answer is', () => {
    const curve = new Curve(powers(20, 24).map((bytes) => ({ bytes, seconds: alphaBeta(bytes) })));
    expect(curve.at(2 ** 22).kind).toBe('measured');
    expect(curve.at(2 ** 22 + 1).kind).toBe('interpolated');
    expect(curve.at(2 ** 19).kind).toBe('extrapolated');
    expect(curve.at(2 ** 25).kind).toBe('extrapolated');
  });

  it('expects larger errors the farther it extrapolates a bent curve', () => {
    const curve = new Curve(powers(10, 28).map((bytes) => ({ bytes, seconds: 1e-5 + (bytes / 1e9) ** 0.8 * 1e-2 })));
    const errors = [1, 2, 4, 8, 64].map((f) => curve.at(2 ** 28 * f).expectedError);
    expect([...errors].sort((a, b) => a - b)).toEqual(errors);
  });

  it('never falls with size and is never faster than proportional below the smallest point', () => {
    fc.assert(
      fc.property(
        anyPoints,
        fc.double({ min: 0, max: 36, noNaN: true }),
        fc.double({ min: 0, max: 36, noNaN: true }),
        (points, a, b) => {
          const { knots } = cleanPoints(points);
          fc.pre(knots.length >= 2);
          const curve = new Curve(knots);
          const [low, high] = [2 ** Math.min(a, b), 2 ** Math.max(a, b)];
          const [lower, higher] = [curve.at(low), curve.at(high)];
          expect(lower.seconds).toBeGreaterThan(0);
          expect(higher.seconds).toBeGreaterThanOrEqual(lower.seconds * (1 - 1e-12));
          expect(higher.expectedError).toBeGreaterThanOrEqual(0);
        },
      ),
    );
  });

  it('refuses points out of order', () => {
    expect(() => new Curve([{ bytes: 1, seconds: 1 }])).toThrow(RangeError);
    expect(
      () =>
        new Curve([
          { bytes: 1, seconds: 2 },
          { bytes: 2, seconds: 1 },
        ]),
    ).toThrow(/point 1/u);
  });
});

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
});
