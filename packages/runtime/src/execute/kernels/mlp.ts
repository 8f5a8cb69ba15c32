/** Kernels of layers without experts: one SwiGLU block, gate and up sharded by columns, down by rows over TP. */
import { sliceStart } from '@monta/core';
import { expertActivation, expertActivationGrad } from '../../moe/index.js';
import { linearForward, linearInputGrad, linearWeightGrad } from '../../transformer/index.js';
import type { KernelCall, KernelRegistry } from '../kernel.js';
import type { TrainingContext } from './context.js';
import { feedForwardNorm, normBackward, normForward } from './norms.js';

export function mlpKernels(context: TrainingContext): KernelRegistry {
  const { model, step, tokens, gemm, parameters } = context;
  const { tp } = step.layout;
  const index = parameters.rank % tp;
  const ffn = sliceStart(model.denseFfn, index + 1, tp) - sliceStart(model.denseFfn, index, tp);
  const h = model.hiddenSize;
  const all = Int32Array.of(0, 0, tokens);
  const wide = { rows: tokens, inputs: h, outputs: ffn };
  const narrow = { rows: tokens, inputs: ffn, outputs: h };
  const weights = (call: KernelCall, name: string) =>
    parameters.get(`model.layers.${call.node.layer}.mlp.${name}_proj.weight`);

  /** Rows [gate, up] of the region from or into two matrices of their own. */
  const halves = (rows: Float32Array, part: 0 | 1, half: Float32Array, direction: 'split' | 'join'): void => {
    for (let row = 0; row < tokens; row++) {
      const at = (2 * row + part) * ffn;
      if (direction === 'join') rows.set(half.subarray(row * ffn, (row + 1) * ffn), at);
      else half.set(rows.subarray(at, at + ffn), row * ffn);
    }
  };

  return {
    'mlp.norm': normForward(context, feedForwardNorm),
    'mlp.norm.backward': normBackward(context, feedForwardNorm),
    'mlp.forward': (call) => {
      const x = call.floats('mlp.normed');
      const gateUp = call.floats('mlp.gateUp');
      const activated = call.floats('mlp.activated');
      for (const [part, name] of [[0, 'gate'] as const, [1, 'up'] as const]) {
        linearForward(gemm, wide, x, weights(call, name).weight, activated);
        halves(gateUp, part, activated, 'join');
      }
      expertActivation({ hidden: h, ffn }, all, gateUp, activated);
      linearForward(gemm, narrow, activated, weights(call, 'down').weight, call.floats('mlp.output'));
    },
    'mlp.backward': (call) => {
      const dy = call.use(0);
      const x = call.floats('mlp.normed');
      const gateUp = call.floats('mlp.gateUp');
      const activated = call.floats('mlp.activated');
      const gateUpGradient = call.floats('mlp.gateUpGradient');
      const dx = call.floats('mlp.normedGradient');
      const down = weights(call, 'down');
      linearInputGrad(gemm, narrow, dy, down.weight, activated);
      expertActivationGrad({ hidden: h, ffn }, all, gateUp, activated, gateUpGradient);
      expertActivation({ hidden: h, ffn }, all, gateUp, activated);
      linearWeightGrad(gemm, narrow, dy, activated, down.gradient);
      for (const [part, name] of [[0, 'gate'] as const, [1, 'up'] as const]) {
        const { weight, gradient } = weights(call, name);
        halves(gateUpGradient, part, activated, 'split');
        linearInputGrad(gemm, wide, activated, weight, dx, part === 1);
        linearWeightGrad(gemm, wide, activated, x, gradient);
      }
    },
  };
}
