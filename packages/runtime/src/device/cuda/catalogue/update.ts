/**
 * The update: this rank's share of the gradients' norm, then AdamW with the gradients clipped by the norm over all
 * ranks, and the selection biases by what was picked.
 */
import { lossSlot } from '../../loss-slots.js';
import { cudaAdamW, cudaBalanceBias, cudaSumOfSquares, squaresScratch } from '../operations/update.js';
import type { CudaCatalogue } from './call.js';

const single = { blocks: 1, threads: 1 };

export const updateKernels: CudaCatalogue<'update.norm' | 'update.adamw' | 'update.selectionBias'> = {
  'update.norm': (call) => {
    // fp64: two elements of 4 bytes each.
    const [sum, scratch] = [call.scratch(2), call.scratch(2 * squaresScratch)];
    const out = call.f32('loss', lossSlot.squares);
    for (const [place, { offset, length, copies }] of call.arguments.tensors.entries()) {
      cudaSumOfSquares(call.launcher('f32'), {
        values: call.f32('gradients', offset),
        count: length,
        scratch,
        out: sum,
      });
      call.on.launch('update', 'store_share', single, { sum, out, share: 1 / copies, add: Number(place > 0) });
    }
  },
  'update.adamw': (call) => {
    const { optimizer, number } = call.arguments.step;
    if (optimizer === undefined) return;
    const factor = call.scratch(1);
    const squares = call.f32('loss', lossSlot.squares);
    const maxNorm = optimizer.maxNorm ?? Infinity;
    // A norm that is not finite gives a factor that is not, and nothing moves.
    call.on.launch('update', 'clipping_factor_narrow', single, { squares, factor, maxNorm });
    for (const { offset, length: count } of call.arguments.tensors) {
      const state = {
        master: call.f32('weights', offset),
        gradient: call.f32('gradients', offset),
        first: call.f32('firstMoments', offset),
        second: call.f32('secondMoments', offset),
        count,
        // Gradients are fp32 also where the copy that the model computes with is not.
        ...(call.has('computeWeights') ? { wide: true, parameter: call.real('computeWeights', offset) } : {}),
      };
      cudaAdamW({ on: call.on, state, adamWSettings: optimizer, step: number, gradientScale: factor });
    }
  },
  'update.selectionBias': (call) => {
    const { rate, step, selectionBiases } = call.arguments;
    // The biases stay where the weights do.
    if (step.optimizer === undefined) return;
    const squares = call.f32('loss', lossSlot.squares);
    for (const { offset, length: experts } of selectionBiases) {
      const state = { bias: call.f32('weights', offset), picks: call.f32('picks', offset), squares };
      cudaBalanceBias(call.on, state, { experts, rate });
    }
  },
};
