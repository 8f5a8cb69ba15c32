/** Figures of the step model that no datasheet gives: what each means, and whether it was fitted or is cited. */

/** Every figure by name; shares are of 1, seconds and bytes as named. */
export interface StepConstants {
  /** Share of the bf16 peak that dense products reach over a run: Ampere, Hopper, Blackwell. */
  readonly gemmAmpere: number;
  readonly gemmHopper: number;
  readonly gemmBlackwell: number;
  /** Share of the fp8 peak: fp8 on Hopper and on Blackwell; mxfp8; nvfp4 as a share of the fp8 peak. */
  readonly gemmHopperFp8: number;
  readonly gemmBlackwellFp8: number;
  readonly gemmMxfp8: number;
  readonly gemmNvfp4: number;
  /** Rate of the experts' products over that of dense ones. */
  readonly groupedShare: number;
  /** Share of the bf16 peak of attention's core, forward and backward. */
  readonly attentionForward: number;
  readonly attentionBackward: number;
  /** Bytes moved by kernels between products over those of fully fused ones. */
  readonly elementBytes: number;
  /** Bytes that quantisation moves an element of a product's input. */
  readonly quantisedBytes: number;
  /** Bytes of logits a token and vocabulary entry: logits and gradient in 16 and 32 bits, statistics. */
  readonly logitBytes: number;
  /** Share of the memory bandwidth that kernels reach. */
  readonly memoryShare: number;
  /** Exponent of the power limit, against 1,200 W, on Blackwell's rates. */
  readonly powerExponent: number;
  /** Share of communication that overlap does not hide. */
  readonly exposedTp: number;
  readonly exposedCp: number;
  readonly exposedEp: number;
  readonly exposedDp: number;
  readonly exposedPp: number;
  /** Bytes of a gradient's element on the network. */
  readonly gradientBytes: number;
  /** The experts' exchange that runs beside the other micro-batch's passes. */
  readonly exposedEpOverlapped: number;
  /** Share of the link rate that the experts' exchange reaches inside and between domains of links. */
  readonly epInner: number;
  readonly epOuter: number;
  /** Host time between kernels, seconds a layer and micro-batch, forward and backward: eager, graphs; dense and MoE. */
  readonly hostDenseEager: number;
  readonly hostMoeEager: number;
  readonly hostMoeGraphs: number;
  /** Host time of Grace over that of x86. */
  readonly hostGrace: number;
  /** Bytes of the optimizer a parameter that it steps on. */
  readonly optimizerBytes: number;
  /** Seconds of a step beside all passes: logging, data, synchronisation. */
  readonly stepSeconds: number;
  /** Relative slowdown of the slowest rank for each doubling of nodes. */
  readonly straggler: number;
}

export const stepConstants: StepConstants = {
  gemmAmpere: 0.8,
  gemmHopper: 0.72,
  gemmBlackwell: 0.78,
  gemmHopperFp8: 0.6,
  gemmBlackwellFp8: 0.65,
  gemmMxfp8: 0.6,
  gemmNvfp4: 0.85,
  groupedShare: 0.75,
  attentionForward: 0.56,
  attentionBackward: 0.43,
  elementBytes: 2.5,
  quantisedBytes: 4,
  logitBytes: 24,
  memoryShare: 0.85,
  powerExponent: 0.5,
  exposedTp: 0.4,
  exposedCp: 0.2,
  exposedEp: 0.8,
  exposedDp: 0.2,
  exposedPp: 0.3,
  gradientBytes: 4,
  exposedEpOverlapped: 0.3,
  epInner: 0.7,
  epOuter: 0.8,
  hostDenseEager: 100e-6,
  hostMoeEager: 1e-3,
  hostMoeGraphs: 300e-6,
  hostGrace: 0.7,
  optimizerBytes: 30,
  stepSeconds: 0.02,
  straggler: 0.003,
};
