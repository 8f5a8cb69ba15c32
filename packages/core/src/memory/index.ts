export {
  activityBytes,
  activityKinds,
  expectedRows,
  memoryTimeline,
  type Activity,
  type ActivityKind,
  type MemoryTimeline,
  type RankRouting,
  type TimelineOptions,
} from './timeline.js';
export { checkImbalance } from './imbalance.js';
export { conventions, megatronModules, type Convention, type MegatronModule } from './convention.js';
export {
  checkWeightShards,
  precisions,
  sharingRules,
  type PrecisionName,
  type SharingName,
  type StateBytes,
  type WeightShards,
} from './states.js';
export { compileStage, type MemorySetting, stageProgram } from './setting.js';
export {
  closedStage,
  type ClosedStage,
  closedTotal,
  communicators,
  gpuOverheads,
  leastStates,
  memoryLacks,
  noOverheads,
  overheadsOf,
  stageMemory,
  type Overheads,
  type StageMemory,
} from './stage-memory.js';
export { type MachineRoom, rankMemory, refuseWhatDoesNotFit } from './rank-room.js';
export { MemoryTable, type MemoryChoice } from './memory-table.js';
export { fullStages } from './stage-elements.js';
export { stateTensors, type StateTensor } from './state-tensors.js';
export { exchangeLibraries, type ExchangeLibrary } from './exchange-buffers.js';
export { publishedPeaks, type PublishedPeak } from './published-peaks.js';
export { familyOfPeak, leaveRulesOut, type RulesLeftOut } from './leave-rules-out.js';
export { deepSeekBreakdown, type BreakdownPart } from './published-breakdown.js';
export { predictPublished, type PredictedPeak } from './predict-published.js';
export {
  fitOf,
  fitsClosed,
  nearestFit,
  oneBehindAnother,
  roomForPairs,
  withPassesInPairs,
  type MemoryFit,
} from './fit.js';
export { peakText } from './peak-text.js';
