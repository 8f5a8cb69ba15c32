import { fp8RowBytes, maxOf, minOf, Random, scaleGroup } from '@monta/core';
import { assert, boolean, double, oneof, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dequantiseRows, fromE4m3, quantiseRows, roundedRows, toE4m3 } from './fp8-rows.js';

/** All finite values of the type, by its definition: sign, four bits of exponent from -6 to 8, three of fraction. */
const values = [...Array(128).keys()]
  .filter((bits) => bits !== 127)
  .map((bits) => {
    const [exponent, fraction] = [bits >> 3, bits & 7];
    return exponent === 0 ? fraction / 512 : (1 + fraction / 8) * 2 ** (exponent - 7);
  });

describe('e4m3', () => {
  it('has 448 as its most, 2^-9 as its least, and gives back each of its values', () => {
    expect(maxOf(values)).toBe(448);
    expect(values[1]).toBe(2 ** -9);
    for (const value of values) for (const signed of [value, -value]) expect(fromE4m3(toE4m3(signed))).toBe(signed);
    expect(fromE4m3(toE4m3(NaN))).toBeNaN();
    expect(fromE4m3(toE4m3(1e9))).toBe(448);
  });

  it('rounds to the nearest value, ties to the even one', () => {
    const number = oneof(double({ min: 0, max: 448, noNaN: true }), double({ min: 0, max: 0.02, noNaN: true }));
    assert(
      property(number, boolean(), (magnitude, negative) => {
        const value = Math.fround(negative ? -magnitude : magnitude);
        const rounded = Math.abs(fromE4m3(toE4m3(value)));
        const distances = values.map((one) => Math.abs(one - Math.abs(value)));
        const least = minOf(distances);
        expect(Math.abs(rounded - Math.abs(value))).toBe(least);
        const nearest = values.flatMap((_, code) => (distances[code] === least ? [code] : []));
        // Of two that are as near the one whose last bit is 0.
        expect(toE4m3(value) & 1 & (nearest.length - 1)).toBe(0);
      }),
      { numRuns: 2000 },
    );
    // A tie between 16 and 18.
    expect(fromE4m3(toE4m3(17))).toBe(16);
    expect(fromE4m3(toE4m3(19))).toBe(20);
  });
});

describe('rows in fp8', () => {
  it('lose at most a sixteenth of an element, or 2^-10 of the scale of its group', () => {
    const random = new Random(7);
    const width = 2 * scaleGroup + 37;
    const rows = Float32Array.from({ length: 5 * width }, () => random.normal() * 10 ** (6 * random.uniform() - 3));
    const rounded = roundedRows(rows, width);
    for (let row = 0; row < 5; row++)
      for (let column = 0; column < width; column++) {
        const start = column - (column % scaleGroup);
        const group = rows.subarray(row * width + start, row * width + Math.min(width, start + scaleGroup));
        const scale = group.reduce((most, one) => Math.max(most, Math.abs(one)), 0) / 448;
        const at = row * width + column;
        const slack = 1 + 1e-6;
        const bound = Math.max(Math.abs(rows[at]) / 16, scale * 2 ** -10) * slack;
        expect(Math.abs(rounded[at] - rows[at])).toBeLessThanOrEqual(bound);
      }
    // The largest of a group arrives whole.
    expect(maxOf([...rounded])).toBeCloseTo(maxOf([...rows]), 2);
  });

  it('take their elements and four bytes a group', () => {
    expect(fp8RowBytes(7168)).toBe(7168 + 4 * 56);
    expect(fp8RowBytes(130)).toBe(130 + 8);
    const bytes = new Uint8Array(2 * fp8RowBytes(3));
    quantiseRows(Float32Array.of(1, -2, 0, 0, 0, 0), 3, bytes);
    const back = new Float32Array(6);
    dequantiseRows(bytes, 3, back);
    expect([...back]).toEqual([1, -2, 0, 0, 0, 0]);
  });

  it('keep what is not a number', () => {
    expect([...roundedRows(Float32Array.of(1, NaN, 2), 3)]).toEqual([1, NaN, 2]);
    expect([...roundedRows(Float32Array.of(1, -Infinity), 2)]).toEqual([NaN, NaN]);
  });
});
