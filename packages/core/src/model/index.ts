export {
  type ClampedSwiglu,
  completeModel,
  modelFamilies,
  type ModelShape,
  type MoeModel,
  type RopeScaling,
} from './model.js';
export { countParameters } from './parameters.js';
export { computedConvention, forwardFlopsPerToken, trainingFlopsPerToken } from './flops.js';
export { yarnScaling } from './rope-scaling.js';
export { furtherModels, modelPresets } from './presets.js';
export { getModel } from './names.js';
export { readHfConfig } from './huggingface.js';
export { modelFrom, readModel } from './read.js';
export { usualSequence } from './usual-sequence.js';
