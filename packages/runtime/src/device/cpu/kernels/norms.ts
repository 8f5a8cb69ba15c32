/** RMS norm in front of a layer, which also keeps the layer's input, and its backward. */
import { rmsNormBackward, rmsNormForward } from '../../../transformer/index.js';
import type { CatalogueKernels } from '../kernel-call.js';

export const normKernels: CatalogueKernels<'norm' | 'norm.backward'> = {
  norm: (call) => {
    const stream = call.f32('stream');
    if (call.has('kept')) call.f32('kept').set(stream);
    const rows = call.rows('stream');
    const shape = { rows, width: call.columns('stream'), epsilon: call.arguments.epsilon };
    call.scratch(rows, (inverse) => rmsNormForward(shape, stream, call.f32('weight'), call.f32('normed'), inverse));
  },
  'norm.backward': (call) => {
    const input = call.f32('kept');
    const { epsilon, accumulate } = call.arguments;
    const [rows, width] = [call.rows('kept'), call.columns('kept')];
    call.scratch(rows, (inverse) => {
      for (let row = 0; row < rows; row++) {
        let squares = 0;
        for (let i = row * width; i < (row + 1) * width; i++) squares += input[i] * input[i];
        inverse[row] = 1 / Math.sqrt(squares / width + epsilon);
      }
      rmsNormBackward(
        { rows, width, epsilon },
        input,
        call.f32('weight'),
        inverse,
        call.f32('normedGradient'),
        call.f32('gradient'),
        call.f32('weightGradient'),
        accumulate,
      );
    });
  },
};
