/**
 * Coefficients of kernels on one H200, as `fitKernels` gives them for the times in `fixtures/` (a test compares):
 * seconds per call, per TFLOP, per wave, per GB and per million elements, in the order of `amounts`.
 */
import type { Coefficients } from './leave-out.js';

/** What the coefficients were fitted on; figures of its datasheet. */
export const fittedOn = {
  device: 'H200-SXM-141GB',
  multiprocessors: 132,
  flopsPerSecond: { bf16: 989e12, fp8: 1979e12 },
  memoryBytesPerSecond: 4.8e12,
} as const;

export const kernelCoefficients: Coefficients = {
  gemm: [2.7175e-6, 0.0014404, 1.0376e-6, 3.6584e-5],
  gemmFp8: [2.7175e-6, 0.00080349, 1.0376e-6, 0.0],
  grouped: [2.2536e-5, 0.0014275, 0.00019939],
  attention: [5.7617e-6, 0.0016615, 6.5429e-7, 2.2483e-5],
  attentionBackward: [1.1943e-5, 0.0017497, 4.9865e-6, 8.0518e-5],
  copy: [0.00024771],
  add: [0.00023663],
  gather: [0.00023954],
  norm: [0.00043527],
  activation: [0.0003073],
  loss: [0.00040657],
  update: [0.00029213],
};
