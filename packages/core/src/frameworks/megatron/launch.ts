/** Finds the Megatron runs in a launch script: arguments, environment, and how many ranks its launcher starts. */
import type { LaunchScript } from '../shell/launch-script.js';
import type { Located } from '../shell/place.js';
import { startedRanks } from '../shell/started-ranks.js';
import type { RunCommand } from '../shell/state.js';
import { isRecord } from '../../units/record.js';
import { megatronFlags } from './flags.js';

export interface MegatronLaunch {
  /** The script that is trained with, as `pretrain_gpt.py`; undefined for a bare list of flags. */
  readonly program: string | undefined;
  readonly arguments: readonly Located[];
  readonly environment: ReadonlyMap<string, Located>;
  /** Ranks that the launcher starts; undefined where the text does not say. */
  readonly ranks: number | undefined;
}

/**
 * A run has at least so many words that Megatron knows, so that another program with a `--seed` is not taken for one.
 */
const leastFlags = 2;

/** All runs of Megatron in a script, in the order in which it starts them. */
export const megatronLaunches = ({ commands }: LaunchScript): MegatronLaunch[] =>
  joinedCommands(commands).flatMap(megatronLaunchOf);

const isBare = (command: RunCommand | undefined): boolean => command?.words[0]?.text.startsWith('--') ?? false;

/** A file of bare flags is one run, however many lines it has. */
export function joinedCommands(commands: readonly RunCommand[]): readonly RunCommand[] {
  const [first] = commands;
  if (first === undefined || !commands.every(isBare)) return commands;
  return [{ ...first, words: commands.flatMap(({ words }) => words) }];
}

/** The run of Megatron that a command is; empty for another command. */
export function megatronLaunchOf({ words, environment, startedBy = [] }: RunCommand): MegatronLaunch[] {
  const script = words.findIndex(({ text }) => text.endsWith('.py'));
  const start = script < 0 ? 0 : script + 1;
  const list = words.slice(start);
  const known = list.filter(({ text }) => megatronFlags.get(text.split('=')[0] ?? '') !== undefined);
  const flags = list.filter(({ text }) => /^--[a-z]/u.test(text));
  // Most flags of another trainer are not Megatron's; but those that build on it have its degrees.
  const degrees = known.some(({ text }) => /^--(?:tensor|pipeline|expert)-model-parallel-size\b/u.test(text));
  if (
    known.length < leastFlags ||
    (!degrees && 2 * known.length < flags.length) ||
    (script < 0 && !(words[0]?.text.startsWith('--') ?? false))
  )
    return [];
  const front = words.slice(0, Math.max(0, script));
  return [
    {
      program: words[script]?.text,
      arguments: list,
      environment: new Map([...environment, ...rayEnvironment(front)]),
      ranks: startedRanks([...startedBy, ...front]) ?? actorRanks(list),
    },
  ];
}

/** Ranks of training where a program starts them itself under Ray (slime): actors' nodes times GPUs of each. */
function actorRanks(words: readonly Located[]): number | undefined {
  const numberOf = (flag: string): number | undefined => {
    const at = words.findIndex(({ text }) => text === flag);
    const text = words[at + 1]?.text ?? '';
    return at >= 0 && /^\d+$/u.test(text) ? Number(text) : undefined;
  };
  const [nodes, each] = [numberOf('--actor-num-nodes'), numberOf('--actor-num-gpus-per-node')];
  return nodes === undefined || each === undefined ? undefined : nodes * each;
}

/** `ray job submit --runtime-env-json='{"env_vars": {…}}'`. */
function rayEnvironment(words: readonly Located[]): [string, Located][] {
  const flag = '--runtime-env-json=';
  const word = words.find(({ text }) => text.startsWith(flag));
  if (word === undefined) return [];
  try {
    const value: unknown = JSON.parse(word.text.slice(flag.length));
    const variables = isRecord(value) && isRecord(value['env_vars']) ? value['env_vars'] : {};
    return Object.entries(variables).map(([name, text]) => [name, { ...word, text: String(text) }]);
  } catch {
    // with parts that only the machine knows it may be no JSON
    return [];
  }
}
