/** What started a run of Megatron-Core: a launch script with the files it sources, flags, or a configuration. */
import type { FrameworkLaunch, KnownBeside, LaunchScriptOptions, MegatronRun } from '@monta/core';
import { InputError } from '@monta/core/units';
import { findLaunches, megatronRunOf } from '@monta/core/doctor';
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

/** The first run that a script or a configuration starts, on as many ranks as given, and what is known beside it. */
export function launchOfScript(
  [file = '', ...sourced]: readonly string[],
  environment: readonly string[],
  gpus: number,
): { readonly launch: FrameworkLaunch | undefined; readonly known: KnownBeside } {
  const options = scriptOptions({ sourced, environment });
  const [launch] = findLaunches({ file, text: readTextFile(file) }, options).launches;
  // A configuration that was given alone is the file that its run names.
  const { variables = {}, readFile = () => undefined } = scriptOptions({ sourced: [file, ...sourced], environment });
  return { launch, known: { gpus, variables, readFile } };
}

/**
 * The first run of a script or a configuration, of Megatron-LM, Megatron-Bridge, NeMo or ms-swift, on as many ranks as
 * given. Throws `InputError` where there is none.
 */
export function runOfScript(script: readonly string[], environment: readonly string[], ranks: number): MegatronRun {
  const [file = ''] = script;
  const { launch, known } = launchOfScript(script, environment, ranks);
  const run = launch === undefined ? undefined : megatronRunOf(launch, known);
  if (run !== undefined) return run;
  throw new InputError(`starts a run of ${launch?.kind ?? 'nothing'}`, {
    file,
    expected: 'flags of Megatron-LM, or overrides of Megatron-Bridge, NeMo or ms-swift',
    hint: 'monta lint reads and prices runs of DeepSpeed and torchtitan',
  });
}
