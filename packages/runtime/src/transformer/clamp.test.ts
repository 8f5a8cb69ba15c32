import { expect, it } from 'vitest';
import { clampBackward, clampForward } from './clamp.js';
import { Tape, clamp, matrix } from '../../testing/transformer/reference-tape.js';

it('clamping agrees with the plain loops, at the limits too', () => {
  const x = Float32Array.of(-3, -2, -0.5, 0, 1.5, 2, 2.5);
  const dy = Float32Array.of(1, 2, 3, 4, 5, 6, 7);
  const tape = new Tape();
  const input = matrix(1, 7, Float64Array.from(x));
  const expected = clamp(tape, input, 2);
  expected.gradient.set(dy);
  tape.run();
  const y = new Float32Array(7);
  clampForward(x, 2, y);
  clampBackward(x, 2, dy, dy);
  expect([...y]).toEqual([...expected.value]);
  expect([...dy]).toEqual([...input.gradient]);
});
