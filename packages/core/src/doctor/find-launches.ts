/** The training runs in what a person gives: a configuration, flags, or a script that starts them. */
import {
  configurationLaunches,
  frameworkLaunches,
  readLaunchScript,
  type Assumption,
  type FrameworkLaunch,
  type LaunchScriptOptions,
  type Source,
} from '../frameworks/index.js';
import { InputError } from '../units/index.js';

export interface FoundLaunches {
  readonly launches: readonly FrameworkLaunch[];
  /** What only a running machine knows, as it was taken. */
  readonly assumptions: readonly Assumption[];
}

/** Says that a text starts nothing that is known here. */
export const noLaunch = (file: string): InputError =>
  new InputError('no training run that is known here in it', {
    file,
    expected:
      'a command that gives a Python script flags of Megatron-LM, overrides of Megatron-Bridge or NeMo, or keys of ' +
      'torchtitan or DeepSpeed; a file with bare flags; or a configuration of theirs',
    hint: 'files that the script sources are given behind it: monta lint train.sh common.sh',
  });

/** All runs, in the order in which they are started. Throws `InputError` where there is none. */
export function findLaunches(source: Source, options: LaunchScriptOptions = {}): FoundLaunches {
  const configured = configurationLaunches(source, options.variables ?? {});
  if (configured !== undefined) {
    if (configured.length === 0) throw noLaunch(source.file);
    return { launches: configured, assumptions: [] };
  }
  const script = readLaunchScript(source, options);
  const launches = frameworkLaunches(script);
  if (launches.length === 0) throw noLaunch(source.file);
  return { launches, assumptions: script.assumptions };
}
