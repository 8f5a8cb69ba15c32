/** A launch script of Megatron-LM with the files it sources, read as the shell would. */
import {
  InputError,
  megatronLaunches,
  MegatronRun,
  noLaunch,
  readLaunchScript,
  readMegatronArguments,
  type LaunchScriptOptions,
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

interface ScriptFiles {
  /** Files that it sources, found by their names. */
  readonly sourced: readonly string[];
  /** `NAME=value`. */
  readonly environment: readonly string[];
  /** $1 and on. */
  readonly arguments?: readonly string[];
}

/** How a script is read: with the variables and arguments given, and the files that it sources. */
export function scriptOptions({ sourced, environment, arguments: given = [] }: ScriptFiles): LaunchScriptOptions {
  const files = new Map(sourced.map((path) => [basename(path), path]));
  return {
    variables: variablesOf(environment),
    arguments: given,
    readFile: (path) => {
      const known = files.get(basename(path));
      return known === undefined ? undefined : readTextFile(known);
    },
  };
}

/**
 * The first run of a script, on as many ranks as given where the script does not say. Throws `InputError` where it
 * starts none.
 */
export function megatronRunOf(
  [file = '', ...sourced]: readonly string[],
  environment: readonly string[],
  ranks: number,
): MegatronRun {
  const script = readLaunchScript({ file, text: readTextFile(file) }, scriptOptions({ sourced, environment }));
  const [launch] = megatronLaunches(script);
  if (launch === undefined) throw noLaunch(file);
  return new MegatronRun(readMegatronArguments(launch.arguments), {
    gpus: ranks,
    environment: launch.environment,
  });
}
