export { checkSupported } from './supported.js';
export { type NormShape, rmsNormBackward, rmsNormForward } from './rms-norm.js';
export {
  splitNormApply,
  splitNormBackward,
  splitNormDot,
  type SplitNormShape,
  splitNormSquares,
} from './split-norm.js';
export { ropeBackward, ropeForward, type RopeRows, type RopeTable, ropeTable } from './rope.js';
export { addBias, biasGrad, linearForward, linearInputGrad, type LinearShape, linearWeightGrad } from './linear.js';
export { scaleRows, tokenGate, tokenGateGradient, tokenGateInputGradient } from './token-gate.js';
export { clampBackward, clampForward } from './clamp.js';
export { type HeadShare, headShare } from './head-share.js';
export {
  attentionBackward,
  attentionForward,
  attentionScratch,
  type AttentionShape,
  sinksGradient,
} from './attention.js';
export { embeddingBackward, embeddingForward, type VocabularyShare } from './embedding.js';
export {
  crossEntropyGrad,
  crossEntropyLoss,
  crossEntropyMax,
  crossEntropySums,
  ignoredLabel,
  shiftLabels,
} from './cross-entropy.js';
export { type AdamWSettings, adamWStep } from './adam-w.js';
export { learningRateAt } from './learning-rate.js';
export { clippingFactor, sumOfSquares } from './gradient-norm.js';
