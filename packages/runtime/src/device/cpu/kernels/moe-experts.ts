/** Kernels of the experts: SwiGLU on chunks of the canonical rows. */
import {
  addExpertBias,
  expertActivation,
  expertActivationGrad,
  expertBiasGrad,
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
    const { clamp, etp } = call.arguments;
    const shape = { hidden: call.columns('input'), ffn: call.columns('activated'), clamp };
    const [gateUpRows, activated, output] = [call.f32('gateUpRows'), call.f32('activated'), call.f32('output')];
    expertGateUp({
      gemm,
      expertShape: shape,
      segments: rows,
      x: call.f32('input'),
      gateUp: call.f32('gateUp'),
      gateUpRows,
    });
    if (call.has('gateUpBias')) addExpertBias(rows, call.f32('gateUpBias'), 2 * shape.ffn, gateUpRows);
    expertActivation(shape, rows, gateUpRows, activated);
    expertDown({ gemm, expertShape: shape, segments: rows, activated, down: call.f32('down'), y: output });
    // Outputs are summed over ETP: one of its ranks adds the bias.
    if (call.has('downBias') && etp.index === 0) addExpertBias(rows, call.f32('downBias'), shape.hidden, output);
  },
  'moe.experts.inputGradient': (call) => {
    const { gemm } = call;
    const rows = call.arguments.segments;
    const { clamp } = call.arguments;
    const shape = { hidden: call.columns('outputGradient'), ffn: call.columns('activated'), clamp };
    const [gateUpRows, gateUpGradient] = [call.f32('gateUpRows'), call.f32('gateUpGradient')];
    // Holds the gradient of the activated rows first; they themselves are computed again over it, for the weights'
    // gradients.
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
    const rows = call.arguments.segments;
    expertWeightGrad({
      gemm: call.gemm,
      expertShape: { hidden: call.columns('input'), ffn: call.columns('activated') },
      segments: rows,
      x: call.f32('input'),
      dgateUpRows: call.f32('gateUpGradient'),
      activated: call.f32('activated'),
      dy: call.f32('outputGradient'),
      dgateUp: call.f32('gateUpWeightGradient'),
      ddown: call.f32('downWeightGradient'),
    });
    if (call.has('gateUpBiasGradient'))
      expertBiasGrad(rows, call.f32('gateUpGradient'), call.columns('gateUpGradient'), call.f32('gateUpBiasGradient'));
    if (call.has('downBiasGradient'))
      expertBiasGrad(rows, call.f32('outputGradient'), call.columns('outputGradient'), call.f32('downBiasGradient'));
  },
};
