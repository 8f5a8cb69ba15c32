/** Kernels of the update: this rank's share of the gradients' norm, then AdamW with the gradients clipped by the norm over all ranks. */
import { adamWStep, clippingFactor, sumOfSquares } from '../../transformer/index.js';
import type { KernelRegistry } from '../kernel.js';
import type { TrainingContext } from './context.js';
import { lossSlot } from './ends.js';

export function updateKernels(context: TrainingContext): KernelRegistry {
  const { parameters, inputs } = context;
  return {
    'update.norm': (call) => {
      let squares = 0;
      for (const { gradient, copies } of parameters.held()) squares += sumOfSquares([gradient]) / copies;
      call.floats('loss')[lossSlot.squares] = squares;
    },
    'update.adamw': (call) => {
      const { optimizer } = inputs;
      if (optimizer === undefined) return;
      const norm = Math.sqrt(call.floats('loss')[lossSlot.squares]);
      const scale = clippingFactor(norm, optimizer.maxNorm ?? Infinity);
      // A norm that is not finite would make every weight NaN; the step is left out, and its result says so.
      if (!Number.isFinite(scale)) return;
      const states = parameters.held().map(({ parameter: { name } }) => ({
        parameter: parameters.data(name, 'weight'),
        gradient: parameters.data(name, 'gradient'),
        firstMoment: parameters.data(name, 'firstMoment'),
        secondMoment: parameters.data(name, 'secondMoment'),
      }));
      adamWStep(states, optimizer, inputs.number, scale);
    },
  };
}
