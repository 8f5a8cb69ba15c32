/** RMS norm in front of a layer, which also keeps the layer's input, and its backward. */
import { rmsNormBackward, rmsNormForward } from '../../../transformer/index.js';
import type { CatalogueKernels } from '../kernel-call.js';

export const normKernels: CatalogueKernels<'norm' | 'norm.backward'> = {
  norm: (call) => {
    const stream = call.f32('stream');
    if (call.has('kept')) call.f32('kept').set(stream);
    const rows = call.rows('stream');
    const shape = { rows, width: call.columns('stream'), epsilon: call.arguments.epsilon };
    call.scratch(rows, (inverse) =>
      rmsNormForward({ shape, x: stream, weight: call.f32('weight'), y: call.f32('normed'), inverseRms: inverse }),
    );
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
      rmsNormBackward({
        shape: { rows, width, epsilon },
        x: input,
        weight: call.f32('weight'),
        inverseRms: inverse,
        dy: call.f32('normedGradient'),
        dx: call.f32('gradient'),
        dweight: call.f32('weightGradient'),
        addDx: accumulate,
      });
    });
  },
};
