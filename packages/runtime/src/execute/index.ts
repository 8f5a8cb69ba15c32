export { TrainingExecutor } from './training-executor.js';
export type {
  EvaluationResult,
  ExecutorOptions,
  MicroBatch,
  OptimizerSettings,
  StepOptions,
  StepResult,
} from './training-executor.js';
export { ParameterStore, type HeldParameter, type ParameterData } from './parameter-store.js';
export { initialiseParameters, initialTensor } from './initialise.js';
export { checkExecutable } from './check-model.js';
export { ProgramRunner, type NodeObserver, type NodeRegions, type RunnerOptions } from './runner.js';
export { DispatchExecutor, type DispatchOptions, type DispatchRun } from './dispatch-executor.js';
export { samplePicks, type SampledPicks } from './sample-picks.js';
