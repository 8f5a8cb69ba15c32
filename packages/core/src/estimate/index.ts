export { estimateMemory, memorySetting, RunMemory, runOfMemory } from './estimate-memory.js';
export { estimateStep, type StepEstimate } from './estimate-step.js';
export {
  type ComputePrecision,
  computePrecisions,
  type DispatchKind,
  dispatchKinds,
  isDual,
  microBatchesOf,
  type Overlap,
  type PipelineSchedule,
  pipelineSchedules,
  type RecomputeSetting,
  type RunSetting,
  runSetting,
  type Stack,
  stacks,
} from './run-setting.js';
export { canOrder, rankOrders, type RankOrder } from './rank-order.js';
export { shardSizes, shardsOf } from './weight-shards.js';
export { hostOf } from './host-states.js';
export { priceStep, type StepParts } from './step-prices.js';
export { evenLayers } from './stage-layers.js';
export { weightBytes } from './sharing.js';
export { StepTable } from './step-table.js';
export { type FittedConstant, stepConstants, type StepConstants } from './constants.js';
export { constantPriors } from './constant-priors.js';
export { type SimulationConstant, simulationConstants, simulationPriors } from './simulation-constants.js';
export { fitStepConstants } from './fit-constants.js';
export { type FamilyLeftOut, leaveFamiliesOut } from './leave-family-out.js';
export { looksLikeRuns, type PublishedRun, readPublishedRuns } from './published-runs.js';
export {
  type PricedRun,
  type RunErrors,
  type RunsValidation,
  spearman,
  summariseErrors,
  validateRuns,
} from './validate-runs.js';
