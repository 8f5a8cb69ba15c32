/** The training run that a configuration describes by itself: YAML, TOML, Python or the JSON of DeepSpeed. */
import { readDocument } from '../units/documents/index.js';
import type { Assignment } from './assigned/assignment.js';
import { pythonParts } from './assigned/read-python.js';
import { tomlAssignments } from './assigned/read-toml.js';
import { yamlAssignments, type Variables } from './assigned/read-yaml.js';
import { looksLikeOverrides } from './bridge/settings.js';
import { looksLikeDeepspeed } from './deepspeed/check.js';
import type { FrameworkLaunch } from './launches.js';
import { megatronFlags } from './megatron/flags.js';
import type { Located, Source } from './shell/place.js';
import { unknownText } from './shell/state.js';
import { looksLikeTorchtitan } from './torchtitan/run.js';

/** A file that lists Megatron's flags as keys, as `--bf16: true`. */
function flagsOfKeys(assignments: readonly Assignment[]): Located[] {
  return assignments.flatMap(({ key, value, at }): Located[] => {
    const name = key.slice(key.indexOf('--'));
    const flag = { text: name, place: at.place };
    if (value === false) return [];
    const kind = megatronFlags.get(name)?.kind;
    if (value === true || (value === null && kind !== undefined)) return [flag];
    if (value === undefined) return [flag, { text: unknownText('a variable'), place: at.place }];
    const words =
      typeof value === 'string'
        ? value.split(/\s+/u)
        : Array.isArray(value)
          ? value.map(String)
          : [`${value as number}`];
    return [flag, ...words.map((text) => ({ text, place: at.place }))];
  });
}

/** Variables of the environment that a configuration sets. */
function environmentOf(assignments: readonly Assignment[]): Map<string, Located> {
  return new Map(
    assignments.flatMap(({ key, value, at }): [string, Located][] => {
      const [, name] = /^env_?vars\.(\w+)$/iu.exec(key) ?? [];
      return name === undefined || !['string', 'number', 'boolean'].includes(typeof value)
        ? []
        : [[name, { text: `${value as string | number | boolean}`, place: at.place }]];
    }),
  );
}

/** What a configuration's keys are of; undefined for another program's. */
function launchOfAssignments(assignments: readonly Assignment[], name?: string): FrameworkLaunch | undefined {
  const environment = environmentOf(assignments);
  const about = { program: name, ranks: undefined, environment };
  const flags = assignments.filter(({ key }) => /(?:^|\.)--[a-z]/u.test(key));
  if (flags.length >= 2) return { kind: 'megatron', ...about, arguments: flagsOfKeys(flags) };
  if (looksLikeTorchtitan(assignments)) return { kind: 'torchtitan', ...about, file: undefined, assignments };
  if (looksLikeOverrides(assignments)) return { kind: 'bridge', ...about, file: undefined, assignments };
  return undefined;
}

/** Keys that a configuration sets, by the kind of file that it is; undefined for another. Throws `InputError`. */
export function assignmentsOf(source: Source, variables: Variables): readonly Assignment[] | undefined {
  const { file, text } = source;
  if (/\.py$/iu.test(file)) return pythonParts(source).flatMap(({ assignments }) => assignments);
  if (/\.toml$/iu.test(file)) return tomlAssignments(source);
  if (/\.ya?ml$/iu.test(file)) return yamlAssignments(source, variables);
  // without a telling name: a header alone on its line, or a section of Bridge's
  if (/^\s*\[(?:parallelism|job|model|training)\]\s*$/mu.test(text)) return tomlAssignments(source);
  return /^(?:model|ConfigContainer|MODEL_ARGS):\s*$/mu.test(text) ? yamlAssignments(source, variables) : undefined;
}

/**
 * The runs of a configuration, of Python one a function; undefined for what is none, as a shell script. Throws
 * `InputError` for a damaged one.
 */
export function configurationLaunches(source: Source, variables: Variables = {}): FrameworkLaunch[] | undefined {
  const { file, text } = source;
  if (/^\s*\{/u.test(text)) {
    const { value } = readDocument(text, file);
    const about = { program: undefined, ranks: undefined, environment: new Map<string, Located>() };
    return looksLikeDeepspeed(value) ? [{ kind: 'deepspeed', ...about, file, values: {} }] : undefined;
  }
  if (/\.py$/iu.test(file))
    return pythonParts(source).flatMap(
      ({ name, assignments }) => launchOfAssignments(assignments, name === '' ? undefined : name) ?? [],
    );
  const assignments = assignmentsOf(source, variables);
  const launch = assignments === undefined ? undefined : launchOfAssignments(assignments);
  return launch === undefined ? undefined : [launch];
}
