import { describe, expect, it } from 'vitest';
import {
  crossEntropyGrad,
  crossEntropyLoss,
  crossEntropyMax,
  crossEntropySums,
  ignoredLabel,
  shiftLabels,
} from './cross-entropy.js';
import { embeddingBackward, embeddingForward } from './embedding.js';
import { Tape, embedding, matrix } from '../../testing/transformer/reference-tape.js';
import { randomArray, relativeError, seededRandom } from '../../testing/numbers.js';
import { maxOf } from '@monta/core';

/** Vocabulary rows of rank `rank` of `ranks`, as even as can be. */
function shareOf(vocabulary: number, ranks: number, rank: number) {
  const first = Math.floor((vocabulary * rank) / ranks);
  return { first, count: Math.floor((vocabulary * (rank + 1)) / ranks) - first };
}

describe('shiftLabels', () => {
  it('moves labels one to the left within each sequence and keeps ignored ones', () => {
    const targets = new Int32Array(6);
    const counted = shiftLabels(Int32Array.of(1, 2, -100, 4, 5, 6), 2, 3, targets);
    expect([...targets]).toEqual([2, -100, -100, 5, 6, -100]);
    expect(counted).toBe(3);
  });
});

describe('crossEntropy', () => {
  it.each([1, 2, 3])('in %i vocabulary shares equals the definition, loss and gradient', (ranks) => {
    const random = seededRandom(ranks);
    const [rows, vocabulary, scale] = [6, 11, 0.25];
    const logits = randomArray(rows * vocabulary, random, 30);
    const targets = Int32Array.of(0, 10, ignoredLabel, 5, 3, 7);
    const parts = Array.from({ length: ranks }, (_, rank) => {
      const share = shareOf(vocabulary, ranks, rank);
      const local = Float32Array.from(
        { length: rows * share.count },
        (_, i) => logits[Math.floor(i / share.count) * vocabulary + share.first + (i % share.count)],
      );
      const largest = new Float32Array(rows);
      crossEntropyMax(share, rows, local, largest);
      return { share, local, largest, sums: new Float32Array(2 * rows) };
    });
    const largest = parts[0].largest.map((_, row) => maxOf(parts.map((part) => part.largest[row])));
    for (const { share, local, sums } of parts)
      crossEntropySums({ share, rows, logits: local, targets, largest, sums });
    const sums = parts[0].sums.map((_, i) => parts.reduce((sum, part) => sum + part.sums[i], 0));

    let expectedLoss = 0;
    const expected = new Float64Array(rows * vocabulary);
    for (let row = 0; row < rows; row++) {
      if (targets[row] === ignoredLabel) continue;
      const values = [...logits.subarray(row * vocabulary, (row + 1) * vocabulary)];
      const shift = maxOf(values);
      const sum = values.reduce((total, value) => total + Math.exp(value - shift), 0);
      expectedLoss += shift + Math.log(sum) - values[targets[row]];
      values.forEach((value, i) => {
        expected[row * vocabulary + i] = scale * (Math.exp(value - shift) / sum - (i === targets[row] ? 1 : 0));
      });
    }
    expect(crossEntropyLoss(rows, targets, sums)).toBeCloseTo(expectedLoss, 4);
    const actual = new Float32Array(rows * vocabulary);
    for (const { share, local } of parts) {
      crossEntropyGrad({ share, rows, logits: local, targets, largest, sums, scale, dlogits: local }); // in place
      local.forEach((value, i) => {
        actual[Math.floor(i / share.count) * vocabulary + share.first + (i % share.count)] = value;
      });
    }
    expect(relativeError(actual, expected)).toBeLessThan(1e-6);
  });
});

describe('embedding', () => {
  it.each([undefined, 3])('in vocabulary shares adds up to the whole, padding token %s', (paddingId) => {
    const random = seededRandom(5);
    const [vocabulary, hidden] = [7, 4];
    const ids = Int32Array.of(3, 0, 6, 3, 2);
    const weight = randomArray(vocabulary * hidden, random);
    const dout = randomArray(ids.length * hidden, random);
    const tape = new Tape();
    const w = matrix(vocabulary, hidden, Float64Array.from(weight));
    const expected = embedding(tape, ids, w, paddingId);
    expected.gradient.set(dout);
    tape.run();
    for (const ranks of [1, 2, 3]) {
      const sum = new Float32Array(ids.length * hidden);
      const dweight = new Float32Array(vocabulary * hidden);
      for (let rank = 0; rank < ranks; rank++) {
        const share = shareOf(vocabulary, ranks, rank);
        const range = [share.first * hidden, (share.first + share.count) * hidden] as const;
        const out = new Float32Array(ids.length * hidden).fill(NaN);
        embeddingForward({ share, hidden, ids, weight: weight.subarray(...range), out });
        out.forEach((value, i) => {
          sum[i] += value;
        });
        embeddingBackward({ share, hidden, ids, dout, dweight: dweight.subarray(...range), paddingId });
      }
      expect(relativeError(sum, expected.value)).toBe(0);
      expect(relativeError(dweight, w.gradient)).toBeLessThan(1e-6);
    }
  });
});
