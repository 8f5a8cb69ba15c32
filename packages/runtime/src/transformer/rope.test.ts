import { yarnScaling } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { Tape, matrix, rope } from '../../testing/transformer/reference-tape.js';
import { rotationOf } from '../../testing/transformer/reference-rope.js';
import { ropeFrequencies } from './rope-frequencies.js';
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
    const expected = rope(tape, input, headDim, sequence, rotationOf({ ropeTheta: theta }, headDim));
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

  it.each([
    ['linear', { kind: 'linear', factor: 4 }],
    ['yarn of gpt-oss', yarnScaling({ factor: 32, originalPositions: 4096, truncate: false })],
    ['yarn of DeepSeek-V2', yarnScaling({ factor: 40, originalPositions: 4096, mscale: 0.7, mscaleAllDim: 0.6 })],
    ['yarn with one scale', yarnScaling({ factor: 8, originalPositions: 64, betaFast: 4, mscale: 1 })],
    ['llama3', { kind: 'llama3', factor: 8, originalPositions: 8192, lowFactor: 1, highFactor: 4 }],
  ] as const)('frequencies of %s are those of its formula: fast pairs kept, slow ones divided', (_, scaling) => {
    const [width, theta] = [64, 150_000];
    const { frequencies, attentionFactor } = ropeFrequencies(width, theta, scaling);
    const expected = rotationOf({ ropeTheta: theta, ropeScaling: scaling }, width);
    expect(relativeError(frequencies, expected.frequencies)).toBeLessThan(1e-6);
    const ratios = Array.from(frequencies, (value, i) => value * theta ** ((2 * i) / width));
    expect(ratios[31]).toBeCloseTo(1 / scaling.factor, 5);
    expect(ratios[0]).toBeCloseTo(scaling.kind === 'linear' ? 1 / scaling.factor : 1, 5);
    ratios.slice(1).forEach((ratio, i) => expect(ratio).toBeLessThan(ratios[i] + 1e-5));
    expect(attentionFactor).toBe(expected.factor);
  });

  it('yarn scales attention by 0.1 ln(factor) + 1, or by the ratio of two such scales', () => {
    const factorOf = (more: object) => {
      const scaling = yarnScaling({ factor: 40, originalPositions: 4096, ...more });
      return scaling.kind === 'yarn' ? scaling.attentionFactor : NaN;
    };
    expect(factorOf({})).toBeCloseTo(1.36889, 5);
    expect(factorOf({ mscale: 1, mscaleAllDim: 1 })).toBe(1);
    expect(factorOf({ mscale: 1, mscaleAllDim: 0.5 })).toBeCloseTo(1.36889 / 1.18444, 4);
    expect(factorOf({ attentionFactor: 0.9 })).toBe(0.9);
  });

  it('refuses an odd head dimension and a sequence longer than its table', () => {
    expect(() => ropeTable(8, 7, 10_000)).toThrow(RangeError);
    expect(() => {
      ropeForward(ropeTable(8, 8, 10_000), new Float32Array(9 * 8), { rows: 9, heads: 1, sequence: 9 });
    }).toThrow('8 positions');
  });
});
