export {
  type RankPlace,
  rankPlace,
  type RowBlock,
  type RowOrder,
  type RowPairs,
  type RowSide,
  type Scope,
  type Size,
  sliceLength,
  sliceStart,
} from './rows.js';
export {
  type ArgumentsOf,
  type BoundOf,
  type KernelName,
  kernels,
  kernelSpec,
  priceKey,
  type RoleOf,
} from './kernels.js';
export { type BoundArgument, type HeadArguments, type Mode, type SelectionArgument } from './kernels/kernel-spec.js';
export {
  type Binding,
  type Body,
  type CollectiveName,
  collectiveNames,
  collectiveUses,
  type Lane,
  type Operation,
  type Program,
  type ProgramNode,
  type Region,
  type Template,
  type Use,
  type Work,
} from './schedule.js';
export { type SpanLabel, spanLabel } from './span-label.js';
export { strategiesToTime } from './strategies-to-time.js';
export { dtypeBytes, type MoeShape } from './moe-shape.js';
export { moeForward } from './moe-forward.js';
export { moeBackward } from './moe-backward.js';
export { type Overlap, type OverlapKind, overlapKinds, withOverlap } from './overlap.js';
export { fp8RowBytes, type Payload, payloads, scaleGroup } from './payload.js';
export { RoutingBinding } from './routing-binding.js';
export {
  allHalves,
  exchangesPicks,
  fixedStrategies,
  inChunks,
  namedStrategies,
  plainPair,
  routingScope,
  sameSums,
  searchedHalves,
  type Strategy,
  unsupportedStrategy,
} from './dispatchers/strategies.js';
export {
  chunksText,
  dispatchFrom,
  formatDispatch,
  halvesName,
  parseDispatch,
  strategyLabel,
} from './dispatchers/strategy-names.js';
export { headsPerRank, moeShape, type StepOverlap, type StepShape, stepTokens } from './step-shape.js';
export { compile, type CompiledOperation, type CompiledProgram } from './compile.js';
export type { RegionInstance } from './region-lifetimes.js';
export { isTrained, type Parameter } from './parameter.js';
export { holdsParameter, parameterCopies, parameters, shardElements, shardRange } from './parameters.js';
export { gradientId, weightId } from './parameter-regions.js';
export {
  type FlatRun,
  flatRuns,
  type ParameterLayout,
  parameterLayout,
  type PlacedParameter,
  reductions,
  type Run,
} from './parameter-layout.js';
export { type Recompute, type RecomputeModule, recomputeModules } from './recompute.js';
export { evaluationStep, moeLayerProgram, pipelineStep, stagePasses, trainingStep } from './step.js';
export { dispatchProgram, expertInput } from './dispatch-only.js';
export { feedersOf } from './feeders.js';
export { blockRows, sliceTokens, sourcesOf } from './dispatchers/row-layout.js';
export {
  roundSeconds,
  compareTurns,
  lastTurn,
  type TimedStep,
  type Turns,
  type TurnsComparison,
  turnsConfidence,
  turnsOf,
  wayOfStep,
} from './turns.js';
