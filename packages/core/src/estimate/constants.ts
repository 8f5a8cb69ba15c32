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
  /** The same in state-space blocks: convolution, chunked scan and gated norm. */
  readonly scanBytes: number;
  /** Bytes that quantisation moves an element of a product's input: dense, the experts' rows unfused, and fused. */
  readonly quantisedBytes: number;
  readonly quantisedRowBytes: number;
  readonly quantisedRowBytesFused: number;
  /** Bytes of logits a token and vocabulary entry: logits and gradient in 16 and 32 bits, statistics. */
  readonly logitBytes: number;
  /** Share of the time of products beside which they move weights, and sums of their gradients. */
  readonly weightsBeside: number;
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
  /** The same of ranks that split an expert and gather one another's rows. */
  readonly epSplit: number;
  /** Seconds of the host to launch a layer's kernels of one micro-batch, eager: dense, MoE, and each local expert. */
  readonly hostDense: number;
  readonly hostMoe: number;
  readonly hostExpert: number;
  /** Host time of a forward that runs again, over that of the layer. */
  readonly hostAgain: number;
  /** Host time in lower precisions over bf16: kernels that quantise. */
  readonly hostQuantised: number;
  /** Host time of a MoE layer whose experts' rows are padded to a capacity, over one that waits for their counts. */
  readonly hostCapacity: number;
  /** Host time with CUDA graphs of a part of the layer, over eager. */
  readonly hostGraphs: number;
  /** What stays of host time between kernels where one CUDA graph holds the whole step. */
  readonly hostFused: number;
  /** Seconds of the host for one micro-batch's pass to the next stage and back. */
  readonly hostHop: number;
  /** Host time of Grace over that of x86. */
  readonly hostGrace: number;
  /**
   * Bytes of the optimizer a parameter that it steps on: gradient 4, main weight and both moments read and written 24,
   * weight 2.
   */
  readonly optimizerBytes: number;
  /** Seconds of a step beside all passes: logging, data, synchronisation. */
  readonly stepSeconds: number;
  /** Rows of the fullest rank's experts over the mean under natural routing, early in training. */
  readonly naturalImbalance: number;
  /** Relative slowdown of the slowest rank for each doubling of nodes. */
  readonly straggler: number;
}

/** Those that are counted from what kernels and collectives do, or taken from datasheets; the others are fitted. */
export type CountedConstant =
  'gradientBytes' | 'memoryShare' | 'optimizerBytes' | 'weightsBeside' | 'epSplit' | 'hostAgain';
export type FittedConstant = Exclude<keyof StepConstants, CountedConstant>;

/** The fitted ones are as `npm run fit:steps` prints them. */
export const stepConstants: StepConstants = {
  gemmAmpere: 0.82595,
  gemmHopper: 0.7466,
  gemmBlackwell: 0.52125,
  gemmHopperFp8: 0.81371,
  gemmBlackwellFp8: 0.6136,
  gemmMxfp8: 0.641,
  gemmNvfp4: 0.45639,
  groupedShare: 0.73605,
  attentionForward: 0.58365,
  attentionBackward: 0.3409,
  elementBytes: 0.8372,
  scanBytes: 8.6461,
  quantisedBytes: 5.8746,
  quantisedRowBytes: 25.016,
  quantisedRowBytesFused: 2.3112,
  logitBytes: 49.888,
  weightsBeside: 0,
  memoryShare: 0.85,
  sustainedB200: 0.93235,
  sustainedGb300: 1.3203,
  exposedTp: 0.6029,
  exposedTpPlain: 2.1388,
  exposedCp: 0.2336,
  exposedEp: 0.40995,
  exposedDp: 0.63014,
  exposedFsdp: 0.33617,
  exposedPp: 0.14346,
  gradientBytes: 4,
  exposedEpOverlapped: 0.15205,
  epInner: 1,
  epOuter: 0.49778,
  epSplit: 1,
  hostDense: 0.0032787,
  hostMoe: 0.0062042,
  hostExpert: 0.00015644,
  hostAgain: 0,
  hostQuantised: 1.2,
  hostCapacity: 0.4675,
  hostGraphs: 0.79292,
  hostFused: 0.46534,
  hostHop: 0.000048518,
  hostGrace: 1.101,
  optimizerBytes: 30,
  stepSeconds: 0.033802,
  naturalImbalance: 1.6035,
  straggler: 0.0014445,
};
