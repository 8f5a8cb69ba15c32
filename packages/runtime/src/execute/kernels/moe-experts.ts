/** Kernels of the experts: SwiGLU on chunks of the canonical rows, and the norm in front of the layer. */
import type { Gemm } from '../../device/gemm.js';
import {
  chunkSegments,
  expertActivation,
  expertActivationGrad,
  expertDown,
  expertDownInputGrad,
  expertGateUp,
  expertGateUpInputGrad,
  expertWeightGrad,
  type ExpertShape,
  type Segments,
} from '../../moe/index.js';
import type { KernelCall, KernelRegistry } from '../kernel.js';
import type { ParameterStore } from '../parameter-store.js';
import type { MoeContext } from './moe-rows.js';

export interface ExpertContext extends MoeContext {
  readonly gemm: Gemm;
  readonly parameters: ParameterStore;
}

const expertShape = ({ routing: { shape, layout } }: MoeContext): ExpertShape => ({
  hidden: shape.hiddenSize,
  ffn: shape.expertFfn / layout.etp,
});

function segments({ routing, book }: MoeContext, call: KernelCall): Segments {
  const { chunk, of } = call.chunk;
  const { layout, localExperts } = routing;
  return chunkSegments(book.get(call.node).arrived, localExperts, layout.etp * layout.ep, chunk, of);
}

export function expertKernels(context: ExpertContext): KernelRegistry {
  const { gemm, parameters } = context;
  const shape = expertShape(context);
  return {
    'moe.experts': (call) => {
      const rows = segments(context, call);
      const [gateUp, down] = [parameters.gateUp(call.node.layer), parameters.down(call.node.layer)];
      const gateUpRows = call.floats('expert.gateUp');
      const activated = call.floats('expert.activated');
      expertGateUp(gemm, shape, rows, call.floats('expert.input'), gateUp.weight, gateUpRows);
      expertActivation(shape, rows, gateUpRows, activated);
      expertDown(gemm, shape, rows, activated, down.weight, call.floats('expert.output'));
    },
    'moe.experts.inputGradient': (call) => {
      const rows = segments(context, call);
      const [gateUp, down] = [parameters.gateUp(call.node.layer), parameters.down(call.node.layer)];
      const gateUpRows = call.floats('expert.gateUp');
      const gateUpGradient = call.floats('expert.gateUpGradient');
      // Holds the gradient of the activated rows first; they themselves are computed again over it, for the weights' gradients.
      const activated = call.floats('expert.activated');
      expertDownInputGrad(gemm, shape, rows, call.floats('expert.outputGradient'), down.weight, activated);
      expertActivationGrad(shape, rows, gateUpRows, activated, gateUpGradient);
      expertActivation(shape, rows, gateUpRows, activated);
      expertGateUpInputGrad(gemm, shape, rows, gateUpGradient, gateUp.weight, call.floats('expert.inputGradient'));
    },
    'moe.experts.weightGradient': (call) => {
      const [gateUp, down] = [parameters.gateUp(call.node.layer), parameters.down(call.node.layer)];
      expertWeightGrad(
        gemm,
        shape,
        segments(context, call),
        call.floats('expert.input'),
        call.floats('expert.gateUpGradient'),
        call.floats('expert.activated'),
        call.floats('expert.outputGradient'),
        gateUp.gradient,
        down.gradient,
      );
    },
  };
}
