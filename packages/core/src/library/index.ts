/**
 * @module The library: what people ask Monta, as a dozen functions of plain data. They run in browsers too. Times are
 * predicted; each result says what it rests on.
 */
export {
  plan,
  readPlan,
  explain,
  compare,
  exportPlan,
  type ExportedPlan,
  type Fact,
  type PlanQuestion,
} from './plan.js';
export {
  chooseDispatch,
  simulate,
  simulateStep,
  traffic,
  type DispatchChoice,
  type DispatchQuestion,
  type SimulatedLayer,
  type SimulatedPass,
  type SimulatedQuestion,
  type SimulatedStep,
  type TierTraffic,
} from './layer.js';
export { memory, type MemoryQuestion, type StepMemory } from './memory.js';
export {
  lint,
  calibrate,
  type CalibrationResult,
  type LintedLaunch,
  type LintFinding,
  type LintQuestion,
  type MeasuredFile,
} from './scripts.js';
export type { LayerQuestion, Subject, Workload } from './subject.js';
export { readCluster } from '../cluster/index.js';
export { readModel } from '../model/index.js';
export { writePerfetto } from '../trace/index.js';
export { InputError } from '../units/index.js';
export type { PlanComparison, PlanDocument, PricedPlan } from '../plan/document/index.js';
