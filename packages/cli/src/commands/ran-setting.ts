/** What ran, for commands that compare it with the prediction: by a plan's file, or by the script that started it. */
import type { Cluster, NotPriced, RunSetting } from '@monta/core';
import { InputError } from '@monta/core/units';
import { deviceCount } from '@monta/core/cluster';
import { modelOfRun, settingOfRun, whyNoStep } from '@monta/core/frameworks';
import { settingOfLaunch } from '@monta/core/doctor';
import { loadModel } from '../inputs.js';
import { launchOfScript, runOfScript } from './megatron-script.js';
import { loadPlan } from './plan-file.js';
import type { RanFlags } from './ran-flags.js';

/** Undefined where neither plan nor script is given. Throws `InputError` that names what is missing. */
export function ranSetting(flags: RanFlags, cluster: Cluster | undefined): RunSetting | undefined {
  if (flags.plan !== undefined) {
    const { setting } = loadPlan(flags.plan).best;
    return cluster === undefined ? setting : { ...setting, cluster };
  }
  const [file] = flags.script ?? [];
  if (file === undefined) return undefined;
  if (cluster === undefined)
    throw new InputError('where it ran is not given', { expected: '--cluster beside --script' });
  const { launch, known } = launchOfScript(flags.script ?? [], flags.env ?? [], deviceCount(cluster));
  if (launch?.kind === 'deepspeed' || launch?.kind === 'torchtitan') {
    const model = flags.model === undefined ? {} : { model: loadModel(flags.model) };
    const setting = settingOfLaunch(launch, { ...known, ...model, cluster });
    if (!('why' in setting)) return setting;
    throw notRan(setting, file);
  }
  const run = runOfScript(flags.script ?? [], flags.env ?? [], deviceCount(cluster));
  const described = flags.model === undefined ? modelOfRun(run) : { model: loadModel(flags.model) };
  if ('missing' in described)
    throw new InputError(`its flags do not say which model it is: ${described.missing.join(', ')} missing`, {
      file,
      expected: '--model name|config.json, or those flags',
    });
  const setting = settingOfRun(run, described.model, cluster);
  if (setting !== undefined) return setting;
  throw notRan(whyNoStep(run), file);
}

/** What is missing by its name; what does not fit together is for the checker to say. */
const notRan = ({ why, missing }: NotPriced, file: string): InputError =>
  new InputError(
    why,
    missing === undefined
      ? { file, hint: 'monta lint says what is wrong' }
      : { file, expected: `values for ${missing.join(', ')}` },
  );
