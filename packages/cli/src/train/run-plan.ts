/**
 * Before training: time the kernels here, plan by predictions, try what they cannot tell apart, and settle.
 */
import { inChunks, namedStrategies, openPlan, settlePlan, type RunPlan } from '@monta/core';
import { probeStepKernels } from '@monta/runtime';
import { settingModel, stepOf, type MachineOverheads, type Setting } from './setting.js';
import { tryClose, type TrialGround } from './trial.js';

/**
 * Plans a run. The configuration's own strategy is taken when it names one; it is compared all the same. Else what the
 * model cannot tell apart is tried, where the run is long enough for it.
 */
export async function planRun(setting: Setting, overheads: MachineOverheads, ground: TrialGround): Promise<RunPlan> {
  const { config, cluster, hostCores, ranks } = setting;
  const halves = config.dispatch === 'auto' ? namedStrategies.scattered : config.dispatch;
  const step = stepOf(setting, inChunks(halves, 1));
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
