/**
 * Before training: time the kernels here, choose how tokens travel, predict the step of the choice and of what it is
 * compared to.
 */
import {
  alternativeEtps,
  type Choice,
  chooseDispatch,
  closeCandidates,
  type CostModel,
  inChunks,
  InputError,
  marginOver,
  moeShape,
  moeShare,
  namedStrategies,
  predictStep,
  reasons,
  type StepPrediction,
  type Strategy,
  strategyLabel,
  trialSize,
  type Workload,
} from '@monta/core';
import { probeStepKernels } from '@monta/runtime';
import type { PlannedStrategy, RunPlan, TriedStrategy } from './planned-strategy.js';
import { machineModel, stepOf, type MachineOverheads, type Setting } from './setting.js';
import { trialText, tryClose, type TrialGround } from './trial.js';

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
  const model = machineModel(setting, await probeStepKernels(step, ground.signal), overheads);
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
  const why = whyOf({ setting, workload, choice, taken, chosen, tried });
  return { chosen, compared, choice: taken, tried, reasons: why, model };
}

interface Decision {
  readonly setting: Setting;
  readonly workload: Workload;
  /** By predictions alone. */
  readonly choice: Choice;
  /** After trials. */
  readonly taken: Choice;
  readonly chosen: PlannedStrategy;
  readonly tried: readonly TriedStrategy[];
}

/** Label and sentence for everything that a person should know of a choice. */
function whyOf({ setting: { config, layout }, workload, choice, taken, chosen, tried }: Decision): RunPlan['reasons'] {
  const why: (readonly [string, string])[] = [];
  if (config.dispatch !== 'auto')
    why.push([
      'Given',
      `${chosen.label}, by the configuration; the plan would take ${strategyLabel(choice.best.strategy)}`,
    ]);
  for (const [index, text] of reasons(taken).entries()) why.push([index === 0 ? 'Why' : '', text]);
  const margin = marginOver(taken.best, choice.bestFixed);
  const sure = !margin.tie
    ? ''
    : tried.length > 0
      ? ': so close that the trial decided'
      : ': closer than the model is sure of';
  if (taken.best.name !== choice.bestFixed.name || margin.share > 0)
    why.push([
      'Margin',
      `predicted ${Math.abs(margin.share * 100).toFixed(0)} % ${margin.share < 0 ? 'slower than' : 'over'} the ` +
        `best fixed strategy, ${strategyLabel(choice.bestFixed.strategy)}, for one MoE layer${sure}`,
    ]);
  if (tried.length > 0) why.push(['Trial', trialText(tried)]);
  const folded = foldedAlternative(workload, choice);
  if (folded) why.push(['Layout', folded]);
  why.push([
    'Layer',
    `predicted for the MoE layer of ${formatTokens(workload.shape.tokens)} tokens a replica, tp ${layout.tp}, ep ` +
      `${layout.ep}`,
  ]);
  return why;
}

const formatTokens = (tokens: number): string => tokens.toLocaleString('en-US');

/** Whether other expert tensor parallel sizes would do better: said, not done, since the layout was given. */
function foldedAlternative(workload: Workload, choice: Choice): string | undefined {
  const others = alternativeEtps(workload.shape).filter((etp) => etp !== workload.shape.layout.etp);
  if (others.length === 0) return undefined;
  const wider = chooseDispatch(workload, { expertTensorParallel: others, chunkCounts: [1, 2, 4] });
  if (!wider.known) return undefined;
  const { best } = wider;
  const share = best.seconds / choice.best.seconds - 1;
  const { etp, ep } = best.layout;
  const text =
    `etp ${etp}, ep ${ep} (${strategyLabel(best.strategy)}) would take ` +
    `${Math.abs(share * 100).toFixed(0)} % ${share < 0 ? 'less' : 'more'}`;
  return share < 0
    ? `${text}: give it with --layout tp=${best.layout.tp},dp=${best.layout.dp},ep=${ep},etp=${etp}`
    : text;
}
