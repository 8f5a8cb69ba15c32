/** Kernels of the experts. */
import { adds, mayAdd, mayRead, reads, writes, type KernelSpec } from './kernel-spec.js';

export const expertKernels = {
  'moe.experts': {
    roles: {
      input: reads,
      gateUp: reads,
      down: reads,
      gateUpBias: mayRead,
      downBias: mayRead,
      gateUpRows: writes,
      activated: writes,
      output: writes,
    },
    fields: { clamp: 'swiglu?' },
    bound: ['segments', 'etp'],
  },
  'moe.experts.inputGradient': {
    roles: {
      outputGradient: reads,
      gateUpRows: reads,
      gateUp: reads,
      down: reads,
      activated: writes,
      gateUpGradient: writes,
      inputGradient: writes,
    },
    fields: { clamp: 'swiglu?' },
    bound: ['segments'],
  },
  'moe.experts.weightGradient': {
    roles: {
      input: reads,
      activated: reads,
      gateUpGradient: reads,
      outputGradient: reads,
      gateUpWeightGradient: adds,
      downWeightGradient: adds,
      gateUpBiasGradient: mayAdd,
      downBiasGradient: mayAdd,
    },
    bound: ['segments'],
  },
} as const satisfies Record<string, KernelSpec>;
