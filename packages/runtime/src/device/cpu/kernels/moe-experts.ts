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
    expertGateUp({
      gemm,
      expertShape: shape,
      segments: rows,
      x: call.f32('input'),
      gateUp: call.f32('gateUp'),
      gateUpRows,
    });
    expertActivation(shape, rows, gateUpRows, activated);
    expertDown({ gemm, expertShape: shape, segments: rows, activated, down: call.f32('down'), y: call.f32('output') });
  },
  'moe.experts.inputGradient': (call) => {
    const { gemm } = call;
    const rows = call.arguments.segments;
    const shape = { hidden: call.columns('outputGradient'), ffn: call.columns('activated') };
    const [gateUpRows, gateUpGradient] = [call.f32('gateUpRows'), call.f32('gateUpGradient')];
    // Holds the gradient of the activated rows first; they themselves are computed again over it, for the weights' gradients.
    const activated = call.f32('activated');
    expertDownInputGrad({
      gemm,
      expertShape: shape,
      segments: rows,
      dy: call.f32('outputGradient'),
      down: call.f32('down'),
      dactivated: activated,
    });
    expertActivationGrad({
      expertShape: shape,
      segments: rows,
      gateUpRows,
      dactivated: activated,
      dgateUpRows: gateUpGradient,
    });
    expertActivation(shape, rows, gateUpRows, activated);
    expertGateUpInputGrad({
      gemm,
      expertShape: shape,
      segments: rows,
      dgateUpRows: gateUpGradient,
      gateUp: call.f32('gateUp'),
      dx: call.f32('inputGradient'),
    });
  },
  'moe.experts.weightGradient': (call) => {
    expertWeightGrad({
      gemm: call.gemm,
      expertShape: { hidden: call.columns('input'), ffn: call.columns('activated') },
      segments: call.arguments.segments,
      x: call.f32('input'),
      dgateUpRows: call.f32('gateUpGradient'),
      activated: call.f32('activated'),
      dy: call.f32('outputGradient'),
      dgateUp: call.f32('gateUpWeightGradient'),
      ddown: call.f32('downWeightGradient'),
    });
  },
};
