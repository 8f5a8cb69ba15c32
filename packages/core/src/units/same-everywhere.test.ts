import { assert, constant, double, integer, oneof, property } from 'fast-check';
import { expect, it } from 'vitest';
import { binaryLogarithm, cubicSum, wholePower } from './same-everywhere.js';

/** Within a few units in the last place. */
const close = (value: number, reference: number): boolean =>
  Math.abs(value - reference) <= 1e-15 * Math.max(1, Math.abs(reference));

it('powers are those of the engine', () => {
  assert(
    property(double({ min: 0, max: 1, noNaN: true }), integer({ min: 0, max: 64 }), (base, exponent) =>
      close(wholePower(base, exponent), base ** exponent),
    ),
  );
  expect(wholePower(3, 20)).toBe(3_486_784_401);
});

it('roots of two cubes are those of the engine, whatever their scale', () => {
  const seconds = oneof(constant(0), double({ min: 1e-12, max: 100, noNaN: true }));
  assert(
    property(seconds, seconds, (a, b) => {
      const root = cubicSum(a, b);
      const scale = Math.max(a, b) || 1;
      return close(root / scale, Math.cbrt((a / scale) ** 3 + (b / scale) ** 3));
    }),
  );
  expect([cubicSum(0, 0), cubicSum(0, 7e-300), cubicSum(5, 0)]).toEqual([0, 7e-300, 5]);
  expect(cubicSum(3, 3)).toBeCloseTo(3 * 2 ** (1 / 3), 14);
});

it('logarithms are those of the engine, and exact for powers of two', () => {
  assert(
    property(double({ min: 1, max: 1e9, noNaN: true }), (value) => close(binaryLogarithm(value), Math.log2(value))),
  );
  for (let power = 0; power <= 40; power++) expect(binaryLogarithm(2 ** power)).toBe(power);
  expect(() => binaryLogarithm(0.5)).toThrow(RangeError);
});
