/**
 * Kernels of the update: this rank's share of the gradients' norm, then AdamW with the gradients clipped by the norm
 * over all ranks, and the selection biases by what was picked.
 */
import { balanceBias } from '../../../moe/index.js';
import { adamWStep, clippingFactor, sumOfSquares } from '../../../transformer/index.js';
import { lossSlot } from '../../loss-slots.js';
import type { CatalogueKernels } from '../kernel-call.js';

export const updateKernels: CatalogueKernels<'update.norm' | 'update.adamw' | 'update.selectionBias'> = {
  'update.norm': (call) => {
    const gradients = call.f32('gradients');
    let squares = 0;
    for (const { offset, length, copies } of call.arguments.tensors)
      squares += sumOfSquares([gradients.subarray(offset, offset + length)]) / copies;
    call.f32('loss')[lossSlot.squares] = squares;
  },
  'update.adamw': (call) => {
    const { optimizer, number } = call.arguments.step;
    if (optimizer === undefined) return;
    const norm = Math.sqrt(call.f32('loss')[lossSlot.squares]);
    const scale = clippingFactor(norm, optimizer.maxNorm ?? Infinity);
    // A norm that is not finite would make every weight NaN; the step is left out, and its result says so.
    if (!Number.isFinite(scale)) return;
    const states = call.arguments.tensors.map(({ offset, length }) => {
      const part = (role: 'weights' | 'gradients' | 'firstMoments' | 'secondMoments'): Float32Array =>
        call.f32(role).subarray(offset, offset + length);
      return {
        parameter: part('weights'),
        gradient: part('gradients'),
        firstMoment: part('firstMoments'),
        secondMoment: part('secondMoments'),
      };
    });
    adamWStep(states, optimizer, number, scale);
  },
  'update.selectionBias': (call) => {
    const { rate, step, selectionBiases } = call.arguments;
    // The biases stay where the weights do.
    if (step.optimizer === undefined || !Number.isFinite(call.f32('loss')[lossSlot.squares])) return;
    const [picks, weights] = [call.f32('picks'), call.f32('weights')];
    for (const { offset, length } of selectionBiases)
      balanceBias(weights.subarray(offset, offset + length), picks.subarray(offset, offset + length), rate);
  },
};
