import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanPoints } from './clean-points.js';
import { Curve } from './curve.js';

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

describe('repeats that differ', () => {
  const at = 2 ** 24;
  const twice = (factor: number): Curve => {
    const points = powers(16, 28).map((bytes) => ({ bytes, seconds: alphaBeta(bytes) }));
    return new Curve(cleanPoints([...points, ...points.map((p) => ({ ...p, seconds: p.seconds * factor }))]).knots);
  };

  it('widen the expected error at every size and between them, by half the factor in logarithms', () => {
    for (const factor of [1.2, 2, 24]) {
      const curve = twice(factor);
      for (const bytes of [at, at * 1.3, 2 ** 30]) {
        expect(curve.at(bytes).expectedError).toBeGreaterThanOrEqual(Math.sqrt(factor) - 1 - 1e-9);
      }
      expect(curve.interpolationError).toBeGreaterThanOrEqual(Math.sqrt(factor) - 1 - 1e-9);
    }
    expect(twice(1).at(at * 1.3).expectedError).toBeCloseTo(0, 9);
  });
});
