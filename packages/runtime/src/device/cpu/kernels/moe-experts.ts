/** Kernels of the experts: SwiGLU on chunks of the canonical rows. */
import {
  expertActivation,
  expertActivationGrad,
  expertDown,
  expertDownInputGrad,
  expertGateUp,
  expertGateUpInputGrad,
  expertWeightGrad,
} from '../../../moe/index.js';
import type { CatalogueKernels } from '../kernel-call.js';

type ExpertKernel = 'moe.experts' | 'moe.experts.inputGradient' | 'moe.experts.weightGradient';

export const expertKernels: CatalogueKernels<ExpertKernel> = {
  'moe.experts': (call) => {
    const { gemm } = call;
    const rows = call.arguments.segments;
    const shape = { hidden: call.columns('input'), ffn: call.columns('activated') };
    const [gateUpRows, activated] = [call.f32('gateUpRows'), call.f32('activated')];
    expertGateUp(gemm, shape, rows, call.f32('input'), call.f32('gateUp'), gateUpRows);
    expertActivation(shape, rows, gateUpRows, activated);
    expertDown(gemm, shape, rows, activated, call.f32('down'), call.f32('output'));
  },
  'moe.experts.inputGradient': (call) => {
    const { gemm } = call;
    const rows = call.arguments.segments;
    const shape = { hidden: call.columns('outputGradient'), ffn: call.columns('activated') };
    const [gateUpRows, gateUpGradient] = [call.f32('gateUpRows'), call.f32('gateUpGradient')];
    // Holds the gradient of the activated rows first; they themselves are computed again over it, for the weights' gradients.
    const activated = call.f32('activated');
    expertDownInputGrad(gemm, shape, rows, call.f32('outputGradient'), call.f32('down'), activated);
    expertActivationGrad(shape, rows, gateUpRows, activated, gateUpGradient);
    expertActivation(shape, rows, gateUpRows, activated);
    expertGateUpInputGrad(gemm, shape, rows, gateUpGradient, call.f32('gateUp'), call.f32('inputGradient'));
  },
  'moe.experts.weightGradient': (call) => {
    expertWeightGrad(
      call.gemm,
      { hidden: call.columns('input'), ffn: call.columns('activated') },
      call.arguments.segments,
      call.f32('input'),
      call.f32('gateUpGradient'),
      call.f32('activated'),
      call.f32('outputGradient'),
      call.f32('gateUpWeightGradient'),
      call.f32('downWeightGradient'),
    );
  },
};
