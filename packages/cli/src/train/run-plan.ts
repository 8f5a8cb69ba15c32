/**
 * Before training: time the kernels here, plan by predictions, try what they cannot tell apart, and settle.
 */
import type { MachineOverheads, RunPlan } from '@monta/core';
import { inChunks, namedStrategies, sameSums } from '@monta/core/schedule';
import { openPlan, settingModel, settingStep, settlePlan } from '@monta/core/plan';
import { probeStepKernels } from '@monta/runtime/probe';
import type { Setting } from './setting.js';
import { tryClose, type TrialGround } from './trial.js';

/**
 * Plans a run. The configuration's own strategy is taken when it names one; it is compared all the same. Else what the
 * model cannot tell apart is tried, where the run is long enough for it.
 */
export async function planRun(setting: Setting, overheads: MachineOverheads, ground: TrialGround): Promise<RunPlan> {
  const { config, cluster, hostCores, ranks } = setting;
  const halves = config.dispatch === 'auto' ? namedStrategies.scattered : config.dispatch;
  const step = settingStep(setting, inChunks(halves, 1));
  const open = openPlan({
    cluster,
    hostCores,
    step,
    seed: config.seed,
    model: settingModel(
      setting,
      await probeStepKernels(step, { device: ground.launcher.device, signal: ground.signal }),
      overheads,
    ),
    run: { ranks, ...config },
    ...(config.dispatch === 'auto' ? {} : { given: config.dispatch }),
  });
  return settlePlan(open, await tryClose(setting, open, ground), overheads.error);
}

/**
 * What a run can be compared to within itself: strategies that sum alike, or its losses would depend on what else took
 * part.
 */
export function comparable({ chosen, compared }: RunPlan, note: (text: string) => void): RunPlan['compared'] {
  const { dispatch, combine } = chosen.strategy;
  if (sameSums().some((one) => one.dispatch === dispatch && one.combine === combine)) return compared;
  note(`${chosen.label} sums on the way, in another order than what it would be compared to: it runs alone`);
  return [];
}
