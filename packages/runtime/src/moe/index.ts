export { chunkMoves, chunkPlaces, type CutBlocks, type Moves, packRows, sendOrder, unpackRows } from './blocks.js';
export { routerBackward, type RouterShape, routerSoftmax, routerTopK } from './router.js';
export { routerSigmoid, selectExperts } from './selection.js';
export { addAuxiliaryStatistics, addPicks, auxiliaryGradient, auxiliaryLoss } from './auxiliary-loss.js';
export { balanceBias } from './balance-bias.js';
export { dropByProbability, expertCapacity, pickedIds } from './capacity.js';
export {
  buildPermutation,
  combineRowGrad,
  combineRows,
  combineWeightGrad,
  packTokens,
  type Permutation,
} from './permutation.js';
export {
  addExpertBias,
  chunkSegments,
  expertActivation,
  expertActivationGrad,
  expertBiasGrad,
  expertDown,
  expertDownInputGrad,
  expertGateUp,
  expertGateUpInputGrad,
  expertWeightGrad,
  type Segments,
} from './experts.js';
