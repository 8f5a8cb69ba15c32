export {
  type Candidate as AllocationCandidate,
  explainOutOfMemory,
  type OutOfMemoryExplanation,
  stageOfMessage,
} from './explain-out-of-memory.js';
export { looksNcclLog, type NcclLog, readNcclLog } from './nccl-log.js';
export { looksOutOfMemory, type OutOfMemory, readOutOfMemory } from './out-of-memory.js';
export { type AllToAllDiagnosis, diagnoseAllToAll } from './slow-all-to-all.js';
export { type PricedFramework, type PricedSetting, priceRun, type RunChange } from './price-run.js';
export { compareStep, type StepComparison, withExpertBytes } from './compare-step.js';
export { predictedTrace } from './predicted-trace.js';
export { recordedTrace } from './recorded-trace.js';
export { explainSpeed, secondsOfSpeed, type SpeedExplanation, type ToldSpeed } from './explain-speed.js';
export { speedOfLog } from './training-log.js';
export { checkLaunch, type CheckedRun, type KnownBeside, megatronRunOf, settingOfLaunch } from './check-launch.js';
export { findLaunches, type FoundLaunches, noLaunch } from './find-launches.js';
export type { LaunchPrice } from './price-launch.js';
export { changedWords, changeTexts, type ChangeText, priceFacts } from './price-text.js';
