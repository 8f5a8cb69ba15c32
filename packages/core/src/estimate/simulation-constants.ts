/**
 * The constants of the closed form for the prices of the simulation: kernels by shape as timed on an H200, carried to
 * other GPUs, collectives as NCCL moves them, a host that issues every operation. `npm run docs:estimate` fits them to
 * simulated steps, and holds them against others.
 */
import { stepConstants, type StepConstants } from './constants.js';
import type { Prior } from './fit-constants.js';

const kernels = 'kernels of an H200 (`cost/kernels/coefficients.ts`)';
const program = 'nothing of it runs beside computation in the program';
const small = 'messages of some MiB, and the latency of a call';
const issued = '5 us of the host for every operation';

/** What is known of them before the fit. */
export const simulationPriors = {
  gemmHopper: { middle: 0.7, factor: 1.15, most: 1, source: kernels },
  gemmBlackwell: { middle: 0.7, factor: 1.2, most: 1, source: kernels },
  gemmAmpere: { middle: 0.7, factor: 1.2, most: 1, source: kernels },
  groupedShare: { middle: 1, factor: 1.2, most: 1.2, source: kernels },
  attentionForward: { middle: 0.61, factor: 1.15, most: 1, source: kernels },
  attentionBackward: { middle: 0.58, factor: 1.15, most: 1, source: kernels },
  elementBytes: { middle: 1.5, factor: 1.5, source: '1 with fused kernels, 2 unfused' },
  logitBytes: { middle: 24, factor: 1.3, source: 'logits and gradient in 32 and 16 bits, two passes of the loss' },
  weightsBeside: { middle: 0.5, factor: 1.5, most: 1, source: 'between a sum of bytes and FLOPs and the larger' },
  exposedTp: { middle: 1.3, factor: 1.5, source: `${program}; ${small}` },
  exposedEp: { middle: 1, factor: 1.3, most: 1, source: 'the shared expert alone runs beside' },
  exposedDp: { middle: 0.3, factor: 2, most: 1, source: "beside the last micro-batch's backward" },
  exposedPp: { middle: 1, factor: 2, most: 1, source: program },
  epInner: { middle: 0.8, factor: 1.3, most: 1, source: small },
  epOuter: { middle: 0.8, factor: 1.3, most: 1, source: small },
  epSplit: { middle: 0.9, factor: 1.3, most: 1.4, source: 'NVLink SHARP where there is one' },
  hostDense: { middle: 3e-4, factor: 2, source: issued },
  hostMoe: { middle: 1e-3, factor: 2, source: issued },
  hostExpert: { middle: 3e-6, factor: 3, source: issued },
  hostAgain: { middle: 0.4, factor: 1.5, most: 1, source: 'a third of forward and backward' },
  hostHop: { middle: 1e-5, factor: 3, source: issued },
  stepSeconds: { middle: 2e-4, factor: 3, source: 'the norm over all ranks' },
  gradientBytes: { middle: 4, factor: 1.2, source: 'reduced in 32 bits' },
  optimizerBytes: { middle: 34, factor: 1.3, source: 'read and written by norm and AdamW' },
} as const satisfies Partial<Record<keyof StepConstants, Prior>>;

export type SimulationConstant = keyof typeof simulationPriors;

/** As the fit gives them. */
const fitted: Readonly<Record<SimulationConstant, number>> = {
  gemmHopper: 0.6572,
  gemmBlackwell: 0.7926,
  gemmAmpere: 0.6709,
  groupedShare: 1.171,
  attentionForward: 0.6691,
  attentionBackward: 0.6359,
  elementBytes: 1.738,
  logitBytes: 31.77,
  exposedTp: 1.527,
  exposedEp: 0.7594,
  exposedDp: 0.3477,
  exposedPp: 0.5332,
  epInner: 0.7703,
  epOuter: 0.5099,
  epSplit: 1.4,
  hostHop: 0.000009827,
  stepSeconds: 0.0004154,
  weightsBeside: 0.08458,
  hostDense: 0.0002018,
  hostMoe: 0.001144,
  hostExpert: 0.000003601,
  hostAgain: 0.3349,
  gradientBytes: 3.727,
  optimizerBytes: 34.98,
};

/** One host issues a program, its ranks are equally fast, and nothing overlaps but what its operations say. */
export const simulationConstants: StepConstants = {
  ...stepConstants,
  hostGraphs: 1,
  hostFused: 1,
  hostCapacity: 1,
  straggler: 0,
  ...fitted,
  // Fitted to all ways of the rows at once.
  exposedGathered: fitted.exposedEp,
};
