import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Elementwise } from './elementwise.js';
import { CpuMemory } from './memory.js';
import { maxOf } from '@monta/core';

const memory = CpuMemory.create({ bytes: 8 << 20 });
const kernels = new Elementwise(memory);

type Place = (length: number) => Float32Array;

/** Places an array in the memory (at an address that is a multiple of 4 only) or outside. */
const placing: fc.Arbitrary<Place> = fc.oneof(
  fc.constant<Place>((length) => new Float32Array(length)),
  fc.integer({ min: 0, max: 3 }).map<Place>((offset) => (length) => {
    const byteOffset = memory.allocate((length + offset) * 4) + offset * 4;
    return memory.f32({ type: 'f32', byteOffset, length });
  }),
);
const lengths = fc.oneof(
  { weight: 6, arbitrary: fc.nat(40) },
  { weight: 1, arbitrary: fc.integer({ min: 4000, max: 9000 }) },
);
const scenario = fc.record({ length: lengths, place: placing, other: placing, seed: fc.integer() });

function values(place: Place, length: number, seed: number, scale = 4): Float32Array {
  const array = place(length);
  let state = seed >>> 0;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    array[index] = (state / 2 ** 31 - 1) * scale;
  }
  return array;
}

/** Runs the property with the memory's allocations given back after each run. */
function check<T>(arbitrary: fc.Arbitrary<T>, run: (value: T) => void, numRuns = 150): void {
  fc.assert(
    fc.property(arbitrary, (value) => {
      const mark = memory.mark();
      run(value);
      memory.release(mark);
    }),
    { numRuns, seed: 11 },
  );
}

const { fround } = Math;

function elements(array: Float32Array | Uint16Array): number[] {
  return [...array];
}

/** The result of a slow loop over indices. */
function expected(length: number, element: (index: number) => number): number[] {
  return Array.from({ length }, (_, index) => element(index));
}

function value(array: Float32Array, index: number): number {
  return array[index] ?? Number.NaN;
}

describe('Elementwise arithmetic', () => {
  it('adds, scales and fills as the obvious loops do', () => {
    check(scenario, ({ length, place, other, seed }) => {
      const [y, x] = [values(place, length, seed), values(other, length, seed + 1)];
      const before = Float32Array.from(y);
      kernels.add(y, x);
      expect(elements(y)).toEqual(expected(length, (i) => fround(value(before, i) + value(x, i))));
      y.set(before);
      kernels.addScaled(y, x, 0.3);
      const factor = fround(0.3);
      expect(elements(y)).toEqual(expected(length, (i) => fround(value(before, i) + fround(value(x, i) * factor))));
      y.set(before);
      kernels.scale(y, 0.3);
      expect(elements(y)).toEqual(expected(length, (i) => fround(value(before, i) * factor)));
      kernels.fill(y, 2);
      expect(elements(y)).toEqual(expected(length, () => 2));
    });
  });

  it('reduces any number of inputs in order, also into one of them', () => {
    const inputs = fc.record({
      length: lengths,
      places: fc.array(placing, { maxLength: 20, size: 'max' }),
      into: fc.nat(20),
      reduction: fc.constantFrom('sum' as const, 'max' as const),
      seed: fc.integer(),
    });
    check(inputs, ({ length, places, into, reduction, seed }) => {
      const arrays = places.map((place, index) => values(place, length, seed + index));
      const want = expected(length, (i) => {
        const list = arrays.map((array) => value(array, i));
        if (reduction === 'max') return maxOf(list);
        return list.length === 0 ? 0 : list.reduce((sum, next) => fround(sum + next));
      });
      const out = arrays[into] ?? new Float32Array(length);
      kernels.reduce(out, arrays, reduction);
      expect(elements(out)).toEqual(want);
    });
  });

  it('sums squares in double precision, the same bits wherever the array lies', () => {
    check(scenario, ({ length, place, other, seed }) => {
      const x = values(place, length, seed);
      const exact = elements(x).reduce((sum, v) => sum + v * v, 0);
      const sum = kernels.sumOfSquares(x);
      expect(Math.abs(sum - exact)).toBeLessThanOrEqual(1e-12 * exact);
      expect(kernels.sumOfSquares(values(other, length, seed))).toBe(sum);
    });
  });

  it('copies strided rows and nothing else', () => {
    const shape = fc.record({
      rows: fc.nat(6),
      columns: fc.nat(9),
      sourcePad: fc.nat(3),
      targetPad: fc.nat(3),
      place: placing,
      other: placing,
    });
    check(shape, ({ rows, columns, sourcePad, targetPad, place, other }) => {
      const [sourceStride, targetStride] = [columns + sourcePad, columns + targetPad];
      const source = values(place, rows * sourceStride, 1);
      const target = values(other, rows * targetStride, 2);
      const before = Float32Array.from(target);
      kernels.copyRows({ rows, columns, source, sourceStride, target, targetStride });
      const want = expected(target.length, (index) => {
        const [row, column] = [Math.floor(index / targetStride), index % targetStride];
        return column < columns ? value(source, row * sourceStride + column) : value(before, index);
      });
      expect(elements(target)).toEqual(want);
    });
  });

  it('refuses arrays of unequal length', () => {
    expect(() => kernels.add(new Float32Array(3), new Float32Array(4))).toThrow(/3 and 4/u);
    expect(() => kernels.reduce(new Float32Array(3), [new Float32Array(4)])).toThrow(RangeError);
    const [source, target] = [new Float32Array(5), new Float32Array(6)];
    const rows = { rows: 2, columns: 3, source, target, sourceStride: 3, targetStride: 3 };
    expect(() => kernels.copyRows(rows)).toThrow(/source of 5/u);
  });
});

function sigmoid(g: number): number {
  return 1 / (1 + Math.exp(-g));
}

/** The largest error in units of its bound; at most 1 is good, NaN is not. */
function worst(length: number, ratio: (index: number) => number): number {
  return expected(length, ratio).reduce((max, next) => (next <= max ? max : next), 0);
}

describe('silu(gate) * up', () => {
  it('is accurate to single precision', () => {
    check(scenario, ({ length, place, other, seed }) => {
      const [gate, up] = [values(place, length, seed, 30), values(other, length, seed + 1)];
      const out = place(length);
      kernels.siluMul(gate, up, out);
      const error = worst(length, (i) => {
        const exact = value(gate, i) * sigmoid(value(gate, i)) * value(up, i);
        return Math.abs(value(out, i) - exact) / (1e-6 * Math.abs(exact) + 1e-37);
      });
      expect(error).toBeLessThanOrEqual(1);
    });
  });

  it('goes to 0 and to gate * up for large gates, and keeps NaN', () => {
    const gate = Float32Array.of(-1e4, 1e4, -90, 90, 0, Number.NaN);
    const out = new Float32Array(6);
    kernels.siluMul(gate, new Float32Array(6).fill(2), out);
    expect(Math.abs(value(out, 0))).toBeLessThan(1e-30);
    expect(Math.abs(value(out, 2))).toBeLessThan(1e-30);
    expect([out[1], out[3], out[4], out[5]]).toEqual([2e4, 180, 0, Number.NaN]);
  });

  it('has the gradients of double precision, also in place', () => {
    check(scenario, ({ length, place, other, seed }) => {
      const [gate, up] = [values(place, length, seed, 10), values(other, length, seed + 1)];
      const gradOut = values(place, length, seed + 2);
      const [wantGate, wantUp] = [new Float64Array(length), new Float64Array(length)];
      for (let i = 0; i < length; i++) {
        const [g, u, d] = [value(gate, i), value(up, i), value(gradOut, i)];
        // Central differences of the function itself would be too coarse; this is its derivative by the quotient rule.
        const e = Math.exp(-g);
        wantGate[i] = d * u * ((1 + e + g * e) / (1 + e) ** 2);
        wantUp[i] = (d * g) / (1 + e);
      }
      kernels.siluMulBackward({ gate, up, gradOut, gradGate: gate, gradUp: up });
      const error = worst(length, (i) => {
        // Near its zero the derivative with respect to gate is a difference of larger terms.
        const scaleOfGate = Math.abs(value(gradOut, i)) * 4;
        const errorOfGate = Math.abs(value(gate, i) - (wantGate[i] ?? Number.NaN)) / (2e-6 * scaleOfGate + 1e-37);
        const exact = wantUp[i] ?? Number.NaN;
        return Math.max(errorOfGate, Math.abs(value(up, i) - exact) / (2e-6 * Math.abs(exact) + 1e-37));
      });
      expect(error).toBeLessThanOrEqual(1);
    });
  });
});

interface Format {
  readonly name: 'bf16' | 'f16';
  readonly exponentBits: number;
  readonly fractionBits: number;
  readonly encode: (from: Float32Array, to: Uint16Array) => void;
  readonly decode: (from: Uint16Array, to: Float32Array) => void;
}

const formats: readonly Format[] = [
  {
    name: 'bf16',
    exponentBits: 8,
    fractionBits: 7,
    encode: (from, to) => kernels.toBf16(from, to),
    decode: (from, to) => kernels.fromBf16(from, to),
  },
  {
    name: 'f16',
    exponentBits: 5,
    fractionBits: 10,
    encode: (from, to) => kernels.toF16(from, to),
    decode: (from, to) => kernels.fromF16(from, to),
  },
];

/**
 * The value of a bit pattern by IEEE 754's definition; infinity as the next power of two, which is how rounding sees
 * it.
 */
function decodeSlowly({ exponentBits, fractionBits }: Format, pattern: number, infinity: number): number {
  const sign = pattern >> 15 === 0 ? 1 : -1;
  const exponent = (pattern >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (pattern & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

/** Round to nearest even by search among all non-negative patterns. */
function encodeSlowly(format: Format, x: number): number {
  const bias = 2 ** (format.exponentBits - 1) - 1;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  const decode = (pattern: number): number => decodeSlowly(format, pattern, 2 ** (bias + 1));
  let low = 0;
  let high = (2 ** format.exponentBits - 1) << format.fractionBits;
  if (magnitude >= decode(high)) return sign | high;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (decode(middle) <= magnitude) low = middle;
    else high = middle;
  }
  const [below, above] = [magnitude - decode(low), decode(high) - magnitude];
  const nearest = below === above ? low + (low & 1) : below < above ? low : high;
  return sign | nearest;
}

describe.each(formats)('conversion of $name', (format) => {
  const { encode, decode } = format;
  const all = Uint16Array.from({ length: 65536 }, (_, pattern) => pattern);

  it('decodes every bit pattern', () => {
    const out = new Float32Array(all.length);
    decode(all, out);
    const want = Float32Array.from(all, (pattern) => decodeSlowly(format, pattern, Number.POSITIVE_INFINITY));
    expect(elements(out)).toEqual(elements(want));
  });

  it('encodes what it decoded, and keeps NaN', () => {
    const [decoded, again] = [new Float32Array(all.length), new Uint16Array(all.length)];
    decode(all, decoded);
    encode(decoded, again);
    const back = new Float32Array(all.length);
    decode(again, back);
    expect(elements(back)).toEqual(elements(decoded));
    const changed = elements(decoded).flatMap((x, index) => (Number.isNaN(x) || again[index] === index ? [] : [index]));
    expect(changed).toEqual([]);
  });

  it('rounds to nearest, ties to even, for any float and between neighbours', () => {
    const midpoints = fc.integer({ min: 0, max: 0x7fff }).map((pattern) => {
      const [a, b] = [decodeSlowly(format, pattern, 0), decodeSlowly(format, pattern + 1, 0)];
      return Number.isFinite(a) && Number.isFinite(b) ? fround((a + b) / 2) : 0;
    });
    const number = fc.oneof(fc.float({ noNaN: true }), fc.float({ min: -16, max: 16, noNaN: true }), midpoints);
    check(
      fc.record({ numbers: fc.array(number, { maxLength: 30 }), place: placing, offset: fc.nat(3) }),
      ({ numbers, place, offset }) => {
        const from = place(numbers.length);
        from.set(numbers);
        const byteOffset = memory.allocate(2 * (numbers.length + offset)) + 2 * offset;
        const to = memory.u16({ type: format.name, byteOffset, length: numbers.length });
        encode(from, to);
        expect(elements(to)).toEqual(numbers.map((x) => encodeSlowly(format, x)));
      },
      600,
    );
  });
});
