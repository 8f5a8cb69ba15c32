import { describe, expect, it } from 'vitest';
import { Tape, matrix, rmsNorm } from '../../testing/transformer/reference-tape.js';
import { rmsNormBackward, rmsNormForward } from './rms-norm.js';
import { splitNormApply, splitNormBackward, splitNormDot, splitNormSquares } from './split-norm.js';
import { finiteDifferences, randomArray, relativeError, seededRandom, weightedSum } from '../../testing/numbers.js';

const epsilon = 1e-5;

/** The reference's norm of groups of weight.length elements, with its gradients for the output gradient dy. */
function twin(x: Float32Array, weight: Float32Array, dy: Float32Array, rows: number) {
  const tape = new Tape();
  const input = matrix(rows, x.length / rows, Float64Array.from(x));
  const scale = matrix(1, weight.length, Float64Array.from(weight));
  const y = rmsNorm(tape, input, scale, epsilon);
  y.gradient.set(dy);
  tape.run();
  return { y: y.value, dx: input.gradient, dweight: scale.gradient };
}

describe('rmsNorm', () => {
  it.each([
    ['whole rows', 7, 24],
    ['each head by itself: tokens x heads rows', 15, 8],
    ['two elements', 3, 2],
    ['no rows', 0, 8],
  ])('agrees with the plain loops: %s', (_, rows, width) => {
    const random = seededRandom(1);
    const x = randomArray(rows * width, random, 3);
    const weight = randomArray(width, random);
    const dy = randomArray(rows * width, random);
    const expected = twin(x, weight, dy, Math.max(rows, 1));
    const shape = { rows, width, epsilon };
    const y = new Float32Array(rows * width).fill(NaN);
    const inverseRms = new Float32Array(rows);
    rmsNormForward({ shape, x, weight, y, inverseRms });
    const dx = new Float32Array(rows * width).fill(NaN);
    const dweight = new Float32Array(width).fill(0.5);
    rmsNormBackward({ shape, x, weight, inverseRms, dy, dx, dweight });
    expect(relativeError(y, expected.y)).toBeLessThan(1e-6);
    expect(relativeError(dx, expected.dx)).toBeLessThan(1e-6);
    expect(
      relativeError(
        dweight.map((value) => value - 0.5),
        expected.dweight,
      ),
    ).toBeLessThan(1e-5);
  });

  it('agrees with finite differences', () => {
    const random = seededRandom(2);
    const shape = { rows: 3, width: 6, epsilon };
    const x = randomArray(18, random);
    const weight = randomArray(6, random);
    const dy = randomArray(18, random);
    const y = new Float32Array(18);
    const inverseRms = new Float32Array(3);
    const loss = (): number => {
      rmsNormForward({ shape, x, weight, y, inverseRms });
      return weightedSum(y, dy);
    };
    const expectedX = finiteDifferences(x, loss);
    const expectedWeight = finiteDifferences(weight, loss);
    loss();
    const dx = new Float32Array(18);
    const dweight = new Float32Array(6);
    rmsNormBackward({ shape, x, weight, inverseRms, dy, dx, dweight });
    expect(relativeError(dx, expectedX)).toBeLessThan(2e-3);
    expect(relativeError(dweight, expectedWeight)).toBeLessThan(1e-3);
  });

  it('adds to the gradient of the residual with addDx, and may overwrite dy without', () => {
    const random = seededRandom(3);
    const shape = { rows: 4, width: 5, epsilon };
    const x = randomArray(20, random);
    const weight = randomArray(5, random);
    const inverseRms = new Float32Array(4);
    rmsNormForward({ shape, x, weight, y: new Float32Array(20), inverseRms });
    const dy = randomArray(20, random);
    const dx = new Float32Array(20);
    rmsNormBackward({ shape, x, weight, inverseRms, dy, dx, dweight: new Float32Array(5) });
    const residual = randomArray(20, random);
    const sum = residual.map((value, i) => value + dx[i]);
    rmsNormBackward({ shape, x, weight, inverseRms, dy, dx: residual, dweight: new Float32Array(5), addDx: true });
    expect(relativeError(residual, sum)).toBeLessThan(1e-6);
    rmsNormBackward({ shape, x, weight, inverseRms, dy, dx: dy, dweight: new Float32Array(5) });
    expect(dy).toEqual(dx);
  });
});

const add = (parts: Float32Array[]): Float32Array =>
  parts[0].map((_, i) => parts.reduce((sum, part) => sum + part[i], 0));

/** Columns [from, from + width) of each row. */
function columns(values: Float32Array, rows: number, from: number, width: number): Float32Array {
  const full = values.length / rows;
  return Float32Array.from(
    { length: rows * width },
    (_, i) => values[Math.floor(i / width) * full + from + (i % width)],
  );
}

describe('splitNorm', () => {
  it.each([
    { ranks: 1, replicas: 1 },
    { ranks: 4, replicas: 1 },
    { ranks: 4, replicas: 2 },
    { ranks: 6, replicas: 3 },
  ])('over $ranks ranks, $replicas of which hold the same columns, equals the norm of the whole row', (split) => {
    const { ranks, replicas } = split;
    const random = seededRandom(10 * ranks + replicas);
    const rows = 5;
    const width = 8;
    const fullWidth = (ranks / replicas) * width;
    const x = randomArray(rows * fullWidth, random, 2);
    const weight = randomArray(fullWidth, random);
    const dy = randomArray(rows * fullWidth, random);
    const expected = twin(x, weight, dy, rows);
    const shape = { rows, width, fullWidth, epsilon, share: 1 / replicas };
    const local = Array.from({ length: ranks }, (_, rank) => {
      const from = Math.floor(rank / replicas) * width;
      // every replica has a part of the upstream gradient: its own query heads' part
      const part = replicas === 1 ? 1 : (rank % replicas) + 0.25;
      const total = (replicas * (replicas - 1)) / 2 + replicas * 0.25;
      return {
        from,
        x: columns(x, rows, from, width),
        weight: weight.slice(from, from + width),
        dy: columns(dy, rows, from, width).map((value) => (replicas === 1 ? value : (value * part) / total)),
        squares: new Float32Array(rows),
        dots: new Float32Array(rows),
        y: new Float32Array(rows * width),
        inverseRms: new Float32Array(rows),
        dweight: new Float32Array(width),
      };
    });
    for (const rank of local) splitNormSquares(shape, rank.x, rank.squares);
    const squares = add(local.map((rank) => rank.squares));
    for (const rank of local) {
      splitNormApply({ shape, x: rank.x, weight: rank.weight, squares, y: rank.y, inverseRms: rank.inverseRms });
      expect(relativeError(rank.y, columns(Float32Array.from(expected.y), rows, rank.from, width))).toBeLessThan(1e-6);
      splitNormDot({ shape, x: rank.x, weight: rank.weight, dy: rank.dy, dots: rank.dots });
    }
    const dots = add(local.map((rank) => rank.dots));
    const dx = new Float32Array(rows * fullWidth);
    const dweight = new Float32Array(fullWidth);
    for (const rank of local) {
      splitNormBackward({
        shape,
        x: rank.x,
        weight: rank.weight,
        inverseRms: rank.inverseRms,
        dots,
        dy: rank.dy,
        dx: rank.dy,
        dweight: rank.dweight,
      });
      rank.dy.forEach((value, i) => {
        dx[Math.floor(i / width) * fullWidth + rank.from + (i % width)] += value;
      });
      rank.dweight.forEach((value, i) => {
        dweight[rank.from + i] += value;
      });
    }
    expect(relativeError(dx, expected.dx)).toBeLessThan(2e-6);
    expect(relativeError(dweight, expected.dweight)).toBeLessThan(2e-6);
  });
});
