import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GemmCall } from '../gemm.js';
import { referenceGemm } from './gemm-reference.js';
import { createWasmGemm } from './gemm-wasm.js';
import { CpuMemory } from './memory.js';

const memory = CpuMemory.create({ bytes: 64 << 20 });
const gemm = createWasmGemm(memory);

/** Seeded values in [-1, 1). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** An array in the memory, starting `offset` elements after an aligned address. */
function inside(length: number, offset = 0): Float32Array {
  const byteOffset = memory.allocate((length + offset) * 4) + offset * 4;
  return memory.f32({ type: 'f32', byteOffset, length });
}

function fill(array: Float32Array, next: () => number): Float32Array {
  return array.map(next);
}

interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly padA: number;
  readonly padB: number;
  readonly padC: number;
  readonly beta: 0 | 1;
  readonly alpha: number;
  readonly offset: number;
  readonly seed: number;
}

const extent = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 41, max: 300 }) },
);
const shape: fc.Arbitrary<Shape> = fc.record({
  m: extent,
  n: extent,
  k: fc.oneof(extent, fc.integer({ min: 250, max: 600 })),
  transposeA: fc.boolean(),
  transposeB: fc.boolean(),
  padA: fc.integer({ min: 0, max: 5 }),
  padB: fc.integer({ min: 0, max: 5 }),
  padC: fc.integer({ min: 0, max: 5 }),
  beta: fc.constantFrom(0 as const, 1 as const),
  alpha: fc.constantFrom(1, 0.5, -2, 0),
  offset: fc.integer({ min: 0, max: 3 }),
  seed: fc.nat(),
});

function makeCall(s: Shape, place: (length: number, offset: number) => Float32Array): GemmCall & { c: Float32Array } {
  const next = random(s.seed);
  const lda = (s.transposeA ? s.m : s.k) + s.padA;
  const ldb = (s.transposeB ? s.k : s.n) + s.padB;
  const ldc = s.n + s.padC;
  const a = place((s.transposeA ? s.k : s.m) * lda, s.offset);
  const b = place((s.transposeB ? s.n : s.k) * ldb, s.offset);
  const c = place(s.m * ldc, s.offset);
  a.set(fill(new Float32Array(a.length), next));
  b.set(fill(new Float32Array(b.length), next));
  c.set(fill(new Float32Array(c.length), next));
  // With beta 0 the old content must not matter.
  if (s.beta === 0) for (let row = 0; row < s.m; row++) c.fill(Number.NaN, row * ldc, row * ldc + s.n);
  return { ...s, a, b, c, lda, ldb, ldc };
}

const outside = (length: number): Float32Array => new Float32Array(length);

function bits(array: Float32Array): Uint32Array {
  return new Uint32Array(Float32Array.from(array).buffer);
}

/**
 * The elements of C that differ from the reference by more than the classical error bound of a sum of k products:
 * (k + 4) u (|alpha| |A| |B| + |C|), u = 2^-24. `before` is the call with C as it was.
 */
function wrongElements(actual: Float32Array, before: GemmCall): [number, number][] {
  const expected = Float32Array.from(before.c);
  referenceGemm({ ...before, c: expected });
  const magnitude = before.c.map(Math.abs);
  const [a, b] = [before.a.map(Math.abs), before.b.map(Math.abs)];
  referenceGemm({ ...before, a, b, c: magnitude, alpha: Math.abs(before.alpha ?? 1) });
  return [...expected.entries()].filter(([index, value]) => {
    const bound = (before.k + 4) * 2 ** -24 * (magnitude[index] ?? 0);
    return !(Math.abs((actual[index] ?? Number.NaN) - value) <= bound);
  });
}

describe('createWasmGemm', () => {
  it('agrees with the reference for every transposition, remainder, leading dimension, alpha and beta', () => {
    fc.assert(
      fc.property(shape, (s) => {
        const mark = memory.mark();
        const call = makeCall(s, inside);
        const before = { ...call, c: Float32Array.from(call.c) };
        gemm(call);
        expect(wrongElements(call.c, before)).toEqual([]);
        memory.release(mark);
      }),
      { numRuns: 400, seed: 7 },
    );
  });

  it('handles blocks beyond every block size', () => {
    for (const [transposeA, transposeB] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const) {
      for (const [m, n] of [
        [35, 1043],
        [1043, 35],
      ] as const) {
        const mark = memory.mark();
        const pads = { padA: 1, padB: 2, padC: 3, offset: 1 };
        const call = makeCall({ m, n, k: 517, transposeA, transposeB, ...pads, beta: 1, alpha: 1, seed: 3 }, inside);
        const before = { ...call, c: Float32Array.from(call.c) };
        gemm(call);
        expect(wrongElements(call.c, before)).toEqual([]);
        memory.release(mark);
      }
    }
  });

  it('gives the same bits for arrays inside and outside the memory', () => {
    fc.assert(
      fc.property(shape, (s) => {
        const mark = memory.mark();
        const call = makeCall(s, inside);
        const copy = makeCall(s, outside);
        gemm(call);
        gemm(copy);
        expect(bits(copy.c)).toEqual(bits(call.c));
        memory.release(mark);
      }),
      { numRuns: 100, seed: 8 },
    );
  });

  it('gives an element the same bits whatever the other rows and columns and the storage order', () => {
    fc.assert(
      fc.property(shape, fc.nat(), fc.nat(), fc.nat(), fc.nat(), (s, r0, r1, c0, c1) => {
        fc.pre(s.m > 0 && s.n > 0);
        const mark = memory.mark();
        const plain = { ...s, transposeA: false, transposeB: false, padA: 0, padB: 0, padC: 0 };
        const whole = makeCall(plain, inside);
        gemm(whole);
        const row = r0 % s.m;
        const rows = 1 + (r1 % (s.m - row));
        const column = c0 % s.n;
        const columns = 1 + (c1 % (s.n - column));
        // The same rows and columns alone, in the shape's storage order.
        const fresh = makeCall(plain, outside);
        const store = (count: number, transposed: boolean, read: (unit: number, p: number) => number): Float32Array => {
          const array = inside(count * s.k);
          for (let unit = 0; unit < count; unit++) {
            for (let p = 0; p < s.k; p++) array[transposed ? p * count + unit : unit * s.k + p] = read(unit, p);
          }
          return array;
        };
        const a = store(rows, s.transposeA, (unit, p) => whole.a[(row + unit) * s.k + p] ?? Number.NaN);
        const b = store(columns, !s.transposeB, (unit, p) => whole.b[p * s.n + column + unit] ?? Number.NaN);
        const c = inside(rows * columns);
        const expected = new Float32Array(rows * columns);
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            c[i * columns + j] = fresh.c[(row + i) * s.n + column + j] ?? Number.NaN;
            expected[i * columns + j] = whole.c[(row + i) * s.n + column + j] ?? Number.NaN;
          }
        }
        const { transposeA, transposeB, alpha, beta, k } = s;
        gemm({ m: rows, n: columns, k, a, b, c, transposeA, transposeB, alpha, beta });
        expect(bits(c)).toEqual(bits(expected));
        memory.release(mark);
      }),
      { numRuns: 200, seed: 9 },
    );
  });

  it('writes nothing beside C', () => {
    const mark = memory.mark();
    const call = makeCall(
      {
        m: 13,
        n: 11,
        k: 9,
        transposeA: true,
        transposeB: true,
        padA: 0,
        padB: 0,
        padC: 6,
        beta: 0,
        alpha: 1,
        offset: 0,
        seed: 1,
      },
      inside,
    );
    for (let row = 0; row < 13; row++) call.c.fill(row, row * 17 + 11, row * 17 + 17);
    gemm(call);
    for (let row = 0; row < 13; row++) {
      expect([...call.c.subarray(row * 17 + 11, row * 17 + 17)]).toEqual(Array.from({ length: 6 }, () => row));
    }
    memory.release(mark);
  });

  it('keeps infinities and NaN in their own rows and columns', () => {
    const mark = memory.mark();
    const call = makeCall(
      {
        m: 6,
        n: 9,
        k: 5,
        transposeA: false,
        transposeB: false,
        padA: 0,
        padB: 0,
        padC: 0,
        beta: 0,
        alpha: 1,
        offset: 0,
        seed: 1,
      },
      inside,
    );
    call.a[5 * 5] = Number.NaN;
    call.b[8] = Number.POSITIVE_INFINITY;
    gemm(call);
    for (const [index, value] of call.c.entries()) {
      expect(Number.isFinite(value)).toBe(Math.floor(index / 9) !== 5 && index % 9 !== 8);
    }
    memory.release(mark);
  });

  it('calls onTile between blocks of a long product', () => {
    let calls = 0;
    const hooked = createWasmGemm(memory, { onTile: () => calls++ });
    const mark = memory.mark();
    const [a, b, c] = [inside(400 * 600), inside(600 * 16), inside(400 * 16)];
    hooked({ m: 400, n: 16, k: 600, a, b, c });
    expect(calls).toBeGreaterThanOrEqual(10);
    memory.release(mark);
  });

  it('refuses calls that would leave the arrays', () => {
    const [a, b, c] = [new Float32Array(6), new Float32Array(6), new Float32Array(4)];
    gemm({ m: 2, n: 2, k: 3, a, b, c });
    expect(() => gemm({ m: 2, n: 2, k: 4, a, b, c })).toThrow(/A has 6 elements/u);
    expect(() => gemm({ m: 2, n: 2, k: 3, a, b, c, ldb: 1 })).toThrow(/leading dimension of B/u);
    expect(() => gemm({ m: 2, n: 2, k: 3, a, b, c: c.subarray(1) })).toThrow(/C has 3 elements/u);
    expect(() => gemm({ m: -1, n: 2, k: 3, a, b, c })).toThrow(/whole numbers/u);
  });
});
