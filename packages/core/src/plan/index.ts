export {
  type HeldBy,
  type LayerPass,
  type PassPrice,
  passPrice,
  passProgram,
  routedBinding,
  simulatePass,
  simulationError,
  type Workload,
} from './workload.js';
export {
  alternativeEtps,
  type Candidate,
  type Choice,
  chooseDispatch,
  dispatchSearch,
  samePlan,
  withEtp,
} from './choose.js';
export { expectedErrorOf, marginOver, reasons, rivals } from './explain.js';
export { choiceName, findFlips, type FlipSearch } from './flips.js';
export { closeShare, likelySeconds } from './judge.js';
export { chooseStepOverlap } from './choose-step-overlap.js';
export { chooseOverlap, type OverlapVerdict } from './choose-overlap.js';
export { closeCandidates, closePieces, judgeWays, trialRounds, trialSize, type TriedPart } from './trials.js';
export type { TriedStrategy } from './decision-reasons.js';
export { openPlan, type OpenPlan, type PlannedStrategy, type RunPlan, settlePlan } from './run-plan.js';
export { predictStep, type StepPrediction } from './predict-step.js';
export { type DispatchVariant, dispatchVariants, layerPasses, probedStrategies } from './dispatch-variants.js';
export { type EmulationScale, emulationScale, memorySpeedScale } from './emulation-scale.js';
export { networkShare, runBytes, type StepBytes, stepBytes } from './step-bytes.js';
export { type PickedVariant, type PickedVariants, pickVariants } from './pick-variants.js';
export { leftOutOf, leftOutOfStep, unpricedInLayer, unpricedInStep } from './unpriced.js';
export { automaticLayout } from './automatic-layout.js';
export {
  type MachineOverheads,
  settingModel,
  settingStep,
  trainingSetting,
  type TrainingSetting,
} from './training-setting.js';
export { layerErrors, readMeasuredLayers } from './measured-layers.js';
export { dispatcherPairs, readTimedDispatchers, type TimedDispatcher } from './published-dispatchers.js';
export { publishedStepRatios, readMeasuredSteps, stepRatios } from './measured-steps.js';
export {
  type Allowed,
  type AxisName,
  type Bounds,
  type FrameworkName,
  frameworkNames,
  parseAllowed,
  type PlanProblem,
  type PlanQuestion,
  planProblem,
} from './space/index.js';
export {
  type Candidate as PlanCandidate,
  EstimateModel,
  randomSettings,
  Search,
  type SearchProgress,
  type SearchResult,
} from './search/index.js';
export {
  countsText,
  fewerNodes,
  judgedDocument,
  type JudgedPlan,
  judgedColumns,
  judgedRow,
  judgement,
  judgePlans,
  layoutText,
  noPlan,
  partNames,
  planColumns,
  planFacts,
  planRow,
  planTitle,
  rankGrid,
  sensitivities,
  type Sensitivity,
  shownOthers,
  stepTraffic,
  tieShare,
  usuallyJudged,
} from './report/index.js';
export { type RunSimulation, simulateRun } from './simulate-run.js';
export type { TierBytes } from './tier-bytes.js';
export { type NotSimulated, simulateSetting, stepOfSetting } from './simulated-setting.js';
export {
  type AgainstSimulation,
  againstSimulation,
  drawnSettings,
  fitToSimulation,
  type SimulatedSetting,
  simulateDrawn,
} from './against-simulation.js';
export { againstAll, againstRandom, type HeldAgainst, type SmallSpace } from './against-random.js';
export { estimatedAnew, plansToJudge, searchToJudge } from './judged-search.js';
export { dispatchOf } from './dispatch-of.js';
