/** Figures of the step model that no datasheet gives: what each means, and whether it was fitted or is cited. */

/** Every figure by name; shares are of 1, seconds and bytes as named. */
export interface StepConstants {
  /** Share of the bf16 peak that dense products reach over a run: Ampere, Hopper, Blackwell. */
  readonly gemmAmpere: number;
  readonly gemmHopper: number;
  readonly gemmBlackwell: number;
  /** Share of the fp8 peak: fp8 on Hopper and on Blackwell; mxfp8; nvfp4 of the fp4 peak. */
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
  /** Bytes that quantisation moves an element of a product's input: dense, the experts' rows unfused, and fused. */
  readonly quantisedBytes: number;
  readonly quantisedRowBytes: number;
  readonly quantisedRowBytesFused: number;
  /** Bytes of logits a token and vocabulary entry: logits and gradient in 16 and 32 bits, statistics. */
  readonly logitBytes: number;
  /** Share of the memory bandwidth that kernels reach. */
  readonly memoryShare: number;
  /** Rates that B200 and GB300 sustain over those of GB200, each against its own datasheet. */
  readonly sustainedB200: number;
  readonly sustainedGb300: number;
  /** Share of communication that overlap does not hide. */
  readonly exposedTp: number;
  readonly exposedTpPlain: number;
  readonly exposedCp: number;
  readonly exposedEp: number;
  readonly exposedDp: number;
  readonly exposedFsdp: number;
  readonly exposedPp: number;
  /** Bytes of a gradient's element on the network. */
  readonly gradientBytes: number;
  /** The experts' exchange that runs beside the other micro-batch's passes. */
  readonly exposedEpOverlapped: number;
  /** Share of the link rate that the experts' exchange reaches inside and between domains of links. */
  readonly epInner: number;
  readonly epOuter: number;
  /** Seconds of the host to launch a layer's kernels of one micro-batch, eager: dense, MoE, and each local expert. */
  readonly hostDense: number;
  readonly hostMoe: number;
  readonly hostExpert: number;
  /** Host time in lower precisions over bf16: kernels that quantise. */
  readonly hostQuantised: number;
  /** Host time of a MoE layer whose experts' rows are padded to a capacity, over one that waits for their counts. */
  readonly hostCapacity: number;
  /** Host time with CUDA graphs of a part of the layer, over eager. */
  readonly hostGraphs: number;
  /** Seconds of the host for one micro-batch's pass to the next stage and back. */
  readonly hostHop: number;
  /** Host time of Grace over that of x86. */
  readonly hostGrace: number;
  /** Bytes of the optimizer a parameter that it steps on. */
  readonly optimizerBytes: number;
  /** Seconds of a step beside all passes: logging, data, synchronisation. */
  readonly stepSeconds: number;
  /** Rows of the fullest rank's experts over the mean under natural routing, early in training. */
  readonly naturalImbalance: number;
  /** Relative slowdown of the slowest rank for each doubling of nodes. */
  readonly straggler: number;
}

export const stepConstants: StepConstants = {
  gemmAmpere: 0.8826,
  gemmHopper: 0.7537,
  gemmBlackwell: 0.5173,
  gemmHopperFp8: 0.8027,
  gemmBlackwellFp8: 0.5991,
  gemmMxfp8: 0.6283,
  gemmNvfp4: 0.4924,
  groupedShare: 0.7415,
  attentionForward: 0.5766,
  attentionBackward: 0.3312,
  elementBytes: 1.127,
  quantisedBytes: 5.595,
  quantisedRowBytes: 22.58,
  quantisedRowBytesFused: 2.623,
  logitBytes: 38.12,
  memoryShare: 0.85,
  sustainedB200: 0.9654,
  sustainedGb300: 1.347,
  exposedTp: 0.6315,
  exposedTpPlain: 2.698,
  exposedCp: 0.2232,
  exposedEp: 0.5159,
  exposedDp: 0.6523,
  exposedFsdp: 0.232,
  exposedPp: 0.1797,
  gradientBytes: 4,
  exposedEpOverlapped: 0.1645,
  epInner: 1,
  epOuter: 0.6394,
  hostDense: 0.0005715,
  hostMoe: 0.006617,
  hostExpert: 0.0002362,
  hostQuantised: 1.082,
  hostCapacity: 0.4814,
  hostGraphs: 0.741,
  hostHop: 8.353e-5,
  hostGrace: 1.113,
  optimizerBytes: 30,
  stepSeconds: 0.02832,
  naturalImbalance: 2.14,
  straggler: 0.001319,
};
