import { expect, it } from 'vitest';
import { referenceGemm } from '../device/cpu/gemm-reference.js';
import { addBias, biasGrad, linearForward, linearInputGrad, linearWeightGrad } from './linear.js';
import { Tape, linear, matrix } from '../../testing/transformer/reference-tape.js';
import { randomArray, relativeError, seededRandom } from '../../testing/numbers.js';

it.each([
  [5, 7, 3],
  [1, 4, 6],
  [0, 4, 6],
])('a linear layer of %i rows, %i inputs, %i outputs agrees with the plain loops', (rows, inputs, outputs) => {
  const random = seededRandom(rows);
  const shape = { rows, inputs, outputs };
  const x = randomArray(rows * inputs, random);
  const weight = randomArray(outputs * inputs, random);
  const dy = randomArray(rows * outputs, random);
  const tape = new Tape();
  const input = matrix(rows, inputs, Float64Array.from(x));
  const w = matrix(outputs, inputs, Float64Array.from(weight));
  const bias = randomArray(outputs, random);
  const b = matrix(1, outputs, Float64Array.from(bias));
  const expected = linear(tape, input, w, b);
  expected.gradient.set(dy);
  tape.run();
  const y = new Float32Array(rows * outputs).fill(NaN);
  linearForward({ gemm: referenceGemm, shape, x, weight, y });
  addBias(shape, bias, y);
  expect(relativeError(y, expected.value)).toBeLessThan(1e-6);
  linearForward({ gemm: referenceGemm, shape, x, weight, y, add: true });
  addBias(shape, bias, y);
  expect(
    relativeError(
      y,
      expected.value.map((value) => 2 * value),
    ),
  ).toBeLessThan(1e-6);
  const dx = new Float32Array(rows * inputs).fill(NaN);
  linearInputGrad({ gemm: referenceGemm, shape, dy, weight, dx });
  expect(relativeError(dx, input.gradient)).toBeLessThan(1e-6);
  linearInputGrad({ gemm: referenceGemm, shape, dy, weight, dx, add: true });
  expect(
    relativeError(
      dx,
      input.gradient.map((value) => 2 * value),
    ),
  ).toBeLessThan(1e-6);
  const dweight = new Float32Array(outputs * inputs).fill(1);
  linearWeightGrad({ gemm: referenceGemm, shape, dy, x, dweight });
  expect(
    relativeError(
      dweight,
      w.gradient.map((value) => value + 1),
    ),
  ).toBeLessThan(1e-6);
  const dbias = new Float32Array(outputs).fill(1);
  biasGrad(shape, dy, dbias);
  expect(
    relativeError(
      dbias,
      b.gradient.map((value) => value + 1),
    ),
  ).toBeLessThan(1e-6);
});
