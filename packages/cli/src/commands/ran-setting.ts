/** What ran, for commands that compare it with the prediction: by a plan's file, or by the script that started it. */
import {
  deviceCount,
  InputError,
  modelOfRun,
  settingOfLaunch,
  settingOfRun,
  whyNoStep,
  type Cluster,
  type NotPriced,
  type RunSetting,
} from '@monta/core';
import { loadModel } from '../inputs.js';
import { launchOfScript, runOfScript } from './megatron-script.js';
import { loadPlan } from './plan-file.js';

export interface RanFlags {
  readonly plan?: string;
  readonly script?: readonly string[];
  readonly model?: string;
  readonly env?: readonly string[];
}

/** Flags that say what ran; `script` reads what starts a run. */
export const ranFlags = {
  plan: {
    kind: 'parsed',
    parse: String,
    placeholder: 'plan.json',
    brief: 'What ran, as a plan that monta plan --output wrote',
    optional: true,
  },
  script: {
    kind: 'parsed',
    parse: String,
    placeholder: 'train.sh',
    brief: 'Script, flags or configuration of the run; again for files that it sources',
    optional: true,
    variadic: true,
  },
  model: {
    kind: 'parsed',
    parse: String,
    placeholder: 'name|config.json',
    brief: 'What was trained (default: what the flags describe)',
    optional: true,
  },
} as const;

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
