/** A launch script of Megatron-LM with the files it sources, read as the shell would. */
import {
  InputError,
  megatronLaunches,
  MegatronRun,
  readLaunchScript,
  readMegatronArguments,
  type LaunchScript,
} from '@monta/core';
import { basename } from 'node:path';
import { readTextFile } from '../files.js';

/** Throws `InputError` for an entry that is no variable. */
export function variablesOf(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((entry) => {
      const equals = entry.indexOf('=');
      if (equals < 1) throw new InputError(`--env ${entry} is not a variable`, { expected: 'NAME=value' });
      return [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

export interface ScriptFiles {
  readonly file: string;
  readonly text: string;
  /** Files that it sources, found by their names. */
  readonly sourced: readonly string[];
  /** `NAME=value`. */
  readonly environment: readonly string[];
  /** $1 and on. */
  readonly arguments?: readonly string[];
}

/** Throws `InputError` for what is no script. */
export function launchScriptOf({ file, text, sourced, environment, arguments: given = [] }: ScriptFiles): LaunchScript {
  const files = new Map(sourced.map((path) => [basename(path), path]));
  return readLaunchScript(
    { file, text },
    {
      variables: variablesOf(environment),
      arguments: given,
      readFile: (path) => {
        const known = files.get(basename(path));
        return known === undefined ? undefined : readTextFile(known);
      },
    },
  );
}

/** Says that a script starts nothing that is known here. */
export const noLaunch = (file: string): InputError =>
  new InputError('no training run that is known here in it', {
    file,
    expected:
      'a command that gives a Python script flags of Megatron-LM, overrides of Megatron-Bridge or NeMo, or keys of ' +
      'torchtitan or DeepSpeed; a file with bare flags; or a configuration of theirs',
    hint: 'files that the script sources are given behind it: monta lint train.sh common.sh',
  });

/**
 * The first run of a script, on as many ranks as given where the script does not say. Throws `InputError` where it
 * starts none.
 */
export function megatronRunOf(
  [file = '', ...sourced]: readonly string[],
  environment: readonly string[],
  ranks: number,
): MegatronRun {
  const script = launchScriptOf({ file, text: readTextFile(file), sourced, environment });
  const [launch] = megatronLaunches(script);
  if (launch === undefined) throw noLaunch(file);
  return new MegatronRun(readMegatronArguments(launch.arguments), {
    gpus: ranks,
    environment: launch.environment,
  });
}
