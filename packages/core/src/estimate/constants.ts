/** Figures of the step model that no datasheet gives: what each means, and whether it was fitted or is cited. */

/** Every figure by name; shares are of 1, seconds and bytes as named. */
export interface StepConstants {
  /** Share of the bf16 peak that dense products reach over a run: Ampere, Hopper, Blackwell. */
  readonly gemmAmpere: number;
  readonly gemmHopper: number;
  readonly gemmBlackwell: number;
  /** Share of the fp8 peak: Hopper, Blackwell (mxfp8 too); nvfp4 of the fp4 peak. */
  readonly gemmHopperFp8: number;
  readonly gemmBlackwellFp8: number;
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
  /** Where none does: 5/4, since backwards gather their inputs once more, for the gradients of weights. */
  readonly exposedTpPlain: number;
  readonly exposedCp: number;
  readonly exposedEp: number;
  /** Rows of all ranks, gathered and reduced: collectives that nothing runs beside, at the rate of a ring. */
  readonly exposedGathered: number;
  readonly exposedDp: number;
  readonly exposedFsdp: number;
  readonly exposedPp: number;
  /** Bytes of a gradient's element on the network. */
  readonly gradientBytes: number;
  /** The experts' exchange that runs beside the other micro-batch's passes. */
  readonly exposedEpOverlapped: number;
  /** Share of the links' reached rate that the experts' exchange comes to inside and between domains of links. */
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
  | 'gradientBytes'
  | 'memoryShare'
  | 'optimizerBytes'
  | 'weightsBeside'
  | 'epInner'
  | 'epSplit'
  | 'exposedTpPlain'
  | 'exposedGathered'
  | 'hostAgain';
export type FittedConstant = Exclude<keyof StepConstants, CountedConstant>;

/** The fitted ones are as `npm run fit:steps` prints them. */
export const stepConstants: StepConstants = {
  gemmAmpere: 0.76947,
  gemmHopper: 0.75048,
  gemmBlackwell: 0.5265,
  gemmHopperFp8: 0.81018,
  gemmBlackwellFp8: 0.61969,
  gemmNvfp4: 0.55242,
  groupedShare: 0.73173,
  attentionForward: 0.57251,
  attentionBackward: 0.35125,
  elementBytes: 0.80344,
  scanBytes: 8.2587,
  quantisedBytes: 4.9808,
  quantisedRowBytes: 24.763,
  quantisedRowBytesFused: 2.646,
  logitBytes: 57.672,
  weightsBeside: 0,
  memoryShare: 0.85,
  sustainedB200: 0.90716,
  sustainedGb300: 1.333,
  exposedTp: 0.57262,
  exposedTpPlain: 1.25,
  exposedCp: 0.24064,
  exposedEp: 0.39559,
  exposedGathered: 1,
  exposedDp: 0.65821,
  exposedFsdp: 0.43004,
  exposedPp: 0.15317,
  gradientBytes: 4,
  exposedEpOverlapped: 0.20366,
  epInner: 1,
  epOuter: 0.50955,
  epSplit: 1,
  hostDense: 0.0039115,
  hostMoe: 0.0058836,
  hostExpert: 0.00014687,
  hostAgain: 0,
  hostQuantised: 1.1248,
  hostCapacity: 0.58975,
  hostGraphs: 0.90726,
  hostFused: 0.45078,
  hostHop: 0.000046802,
  optimizerBytes: 30,
  stepSeconds: 0.039179,
  naturalImbalance: 1.567,
  straggler: 0.0017819,
};
