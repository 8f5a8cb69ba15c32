import { describe, expect, it } from 'vitest';
import { Tape, matrix, rope } from '../../testing/transformer/reference-tape.js';
import { ropeBackward, ropeForward, ropeTable } from './rope.js';
import { randomArray, relativeError, seededRandom, weightedSum } from '../../testing/numbers.js';

describe('rope', () => {
  it('agrees with the plain loops, forward and backward', () => {
    const random = seededRandom(1);
    const [batch, sequence, heads, headDim, theta] = [2, 9, 3, 8, 10_000];
    const rows = batch * sequence;
    const x = randomArray(rows * heads * headDim, random);
    const dy = randomArray(x.length, random);
    const tape = new Tape();
    const input = matrix(rows, heads * headDim, Float64Array.from(x));
    const expected = rope(tape, input, headDim, sequence, theta);
    expected.gradient.set(dy);
    tape.run();
    // a longer table than the sequence changes nothing
    const table = ropeTable(40, headDim, theta);
    ropeForward(table, x, { rows, heads, sequence });
    ropeBackward(table, dy, { rows, heads, sequence });
    expect(relativeError(x, expected.value)).toBeLessThan(1e-6);
    expect(relativeError(dy, input.gradient)).toBeLessThan(1e-6);
  });

  it('is a rotation: the backward is its adjoint and undoes it, and scores depend on the distance only', () => {
    const random = seededRandom(2);
    const table = ropeTable(64, 16, 1_000_000);
    const x = randomArray(32 * 16, random);
    const dy = randomArray(32 * 16, random);
    const y = x.slice();
    ropeForward(table, y, { rows: 32, heads: 1, sequence: 32 });
    const dx = dy.slice();
    ropeBackward(table, dx, { rows: 32, heads: 1, sequence: 32 });
    expect(weightedSum(y, dy)).toBeCloseTo(weightedSum(x, dx), 5);
    ropeBackward(table, y, { rows: 32, heads: 1, sequence: 32 });
    expect(relativeError(y, x)).toBeLessThan(1e-6);
    const q = new Float32Array(64 * 16);
    const k = new Float32Array(64 * 16);
    for (let row = 0; row < 64; row++) {
      q.set(x.subarray(0, 16), row * 16);
      k.set(x.subarray(16, 32), row * 16);
    }
    ropeForward(table, q, { rows: 64, heads: 1, sequence: 64 });
    ropeForward(table, k, { rows: 64, heads: 1, sequence: 64 });
    const score = (query: number, key: number): number =>
      weightedSum(q.subarray(query * 16, query * 16 + 16), k.subarray(key * 16, key * 16 + 16));
    expect(score(10, 3)).toBeCloseTo(score(57, 50), 4);
    expect(score(10, 3)).not.toBeCloseTo(score(57, 49), 3);
  });

  it('refuses an odd head dimension and a sequence longer than its table', () => {
    expect(() => ropeTable(8, 7, 10_000)).toThrow(RangeError);
    expect(() => {
      ropeForward(ropeTable(8, 8, 10_000), new Float32Array(9 * 8), { rows: 9, heads: 1, sequence: 9 });
    }).toThrow('8 positions');
  });
});
