/**
 * Before training: time the kernels here, choose how tokens travel, predict the step of the choice and of what it is
 * compared to.
 */
import {
  type Choice,
  chooseDispatch,
  closeCandidates,
  type CostModel,
  decisionReasons,
  inChunks,
  InputError,
  moeShape,
  moeShare,
  namedStrategies,
  type PlannedStrategy,
  predictStep,
  type RunPlan,
  type StepPrediction,
  type Strategy,
  strategyLabel,
  trialSize,
  type Workload,
} from '@monta/core';
import { probeStepKernels } from '@monta/runtime';
import { settingModel, stepOf, type MachineOverheads, type Setting } from './setting.js';
import { tryClose, type TrialGround } from './trial.js';

function predict(setting: Setting, model: CostModel, strategy: Strategy): StepPrediction {
  const prediction = predictStep({
    cluster: setting.cluster,
    step: stepOf(setting, strategy),
    routing: { kind: 'uniform' },
    seed: setting.config.seed,
    model,
    hostCores: setting.hostCores,
  });
  if (!prediction.known) throw new InputError('the step cannot be priced', { expected: prediction.missing.join('; ') });
  return prediction;
}

/**
 * Plans a run. The configuration's own strategy is taken when it names one; it is compared all the same. Else what the
 * model cannot tell apart is tried, where the run is long enough for it.
 */
export async function planRun(setting: Setting, overheads: MachineOverheads, ground: TrialGround): Promise<RunPlan> {
  const { config } = setting;
  const step = stepOf(setting, inChunks(namedStrategies.scattered, 1));
  const model = settingModel(setting, await probeStepKernels(step, ground.signal), overheads);
  const shape = moeShape(step);
  const workload: Workload = {
    cluster: setting.cluster,
    shape,
    routing: { kind: 'uniform' },
    seed: config.seed,
    model,
    hostCores: setting.hostCores,
    scope: 'layer',
  };
  const choice = chooseDispatch(workload);
  if (!choice.known) throw new InputError('the dispatch cannot be priced', { expected: choice.missing.join('; ') });
  const predictions = new Map<string, StepPrediction>();
  const planned = (role: PlannedStrategy['role'], strategy: Strategy): PlannedStrategy => {
    const label = strategyLabel(strategy);
    const predicted = predictions.get(label) ?? predict(setting, model, strategy);
    predictions.set(label, predicted);
    return { label, role, strategy, predicted };
  };
  const close = config.dispatch === 'auto' ? closeCandidates(choice) : [];
  const { strategies, steps } = trialSize({ ranks: setting.ranks, ...config }, close.length);
  const { tried, fastest } = await tryClose({
    setting,
    close: close.slice(0, strategies).map(({ strategy }) => planned('chosen', strategy)),
    steps,
    modelError: (prediction) => overheads.error * moeShare(step, choice.best.seconds, prediction.seconds),
    ground,
  });
  const taken: Choice = { ...choice, best: close[fastest] ?? choice.best };
  const chosen = planned('chosen', config.dispatch === 'auto' ? taken.best.strategy : config.dispatch);
  const compared = [
    ...(choice.baseline ? [planned('baseline', choice.baseline.strategy)] : []),
    ...(choice.bestFixed !== choice.baseline ? [planned('fixed', choice.bestFixed.strategy)] : []),
  ].filter((one) => one.label !== chosen.label);
  const given = config.dispatch === 'auto' ? {} : { given: chosen.label };
  const why = decisionReasons({ workload, choice, taken, tried, ...given });
  return { chosen, compared, choice: taken, tried, reasons: why, model };
}
