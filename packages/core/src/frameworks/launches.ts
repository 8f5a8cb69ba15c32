/** The training runs that a launch script starts, whatever framework they are of. */
import type { Assignment } from './assigned/assignment.js';
import { dottedFlagsOf, overridesOf, plainFlagsOf } from './assigned/read-words.js';
import { looksLikeOverrides } from './bridge/settings.js';
import type { DeepspeedLaunchValues } from './deepspeed/config.js';
import { joinedCommands, megatronLaunchOf, type MegatronLaunch } from './megatron/launch.js';
import type { LaunchScript } from './shell/launch-script.js';
import type { Located } from './shell/place.js';
import { startedRanks } from './shell/started-ranks.js';
import type { RunCommand } from './shell/state.js';
import { looksLikeTorchtitan } from './torchtitan/run.js';

interface Started {
  /** The script that is trained with. */
  readonly program: string | undefined;
  /** Ranks that the launcher starts; undefined where the text does not say. */
  readonly ranks: number | undefined;
  readonly environment: ReadonlyMap<string, Located>;
}

/** A run that is described by a file, by overrides of it on the command line, or by both. */
interface Configured extends Started {
  /** The configuration's file as the command names it. */
  readonly file: string | undefined;
  readonly assignments: readonly Assignment[];
}

export interface DeepspeedLaunch extends Started {
  readonly kind: 'deepspeed';
  readonly file: string;
  /** The configuration, where the script writes it itself. */
  readonly text?: string;
  readonly values: DeepspeedLaunchValues;
  /** The same command by its flags of Megatron-LM, as forks of it have them. */
  readonly megatron?: MegatronLaunch;
}

export type FrameworkLaunch =
  | ({ readonly kind: 'megatron' } & MegatronLaunch)
  | ({ readonly kind: 'bridge' } & Configured)
  | ({ readonly kind: 'torchtitan' } & Configured)
  | DeepspeedLaunch;

/** Place of the script, or of the module behind `-m`; below 0 where there is neither. */
function programAt(words: readonly Located[]): number {
  const script = words.findIndex(({ text }) => text.endsWith('.py'));
  const module = words.findIndex(({ text }) => text === '-m');
  return script >= 0 || module < 0 ? script : module + 1;
}

function started({ words, environment, startedBy = [] }: RunCommand): Started {
  const script = programAt(words);
  const front = words.slice(0, Math.max(0, script));
  return { program: words[script]?.text, ranks: startedRanks([...startedBy, ...front]), environment };
}

/** The word behind one of these flags, or behind its `=`. */
function valueBehind(words: readonly Located[], flags: readonly string[]): string | undefined {
  for (const [at, { text }] of words.entries()) {
    const [name = '', inline] = text.split('=', 2);
    if (!flags.includes(name)) continue;
    const value = inline ?? words[at + 1]?.text;
    if (value !== undefined && !value.startsWith('-')) return value;
  }
  return undefined;
}

const numberBehind = (words: readonly Located[], flags: readonly string[]): number | undefined => {
  const value = Number(valueBehind(words, flags));
  return Number.isInteger(value) && value > 0 ? value : undefined;
};

const deepspeedFiles = ['--deepspeed', '--deepspeed_config', '--deepspeed-config', '--ds_config', '--ds_config_file'];

/** Flags of Transformers' trainer, LLaMA-Factory and DeepSpeed's examples that say what a configuration leaves open. */
function deepspeedValues(words: readonly Located[]): DeepspeedLaunchValues {
  const micro = numberBehind(words, ['--per_device_train_batch_size', '--micro-batch-size', '--micro_batch_size']);
  const steps = numberBehind(words, ['--gradient_accumulation_steps']);
  const sequence = numberBehind(words, [
    '--max_seq_length',
    '--max_seq_len',
    '--model_max_length',
    '--cutoff_len',
    '--block_size',
    '--max_length',
    '--seq-length',
    '--seq_length',
  ]);
  const again = words.findIndex(({ text }) => /^--gradient[_-]checkpointing(?:=|$)/u.test(text));
  const off = /false/iu.test(`${words[again]?.text ?? ''} ${words[again + 1]?.text ?? ''}`);
  return {
    ...(micro === undefined ? {} : { train_micro_batch_size_per_gpu: micro }),
    ...(steps === undefined ? {} : { gradient_accumulation_steps: steps }),
    ...(sequence === undefined ? {} : { sequence }),
    recompute: again >= 0 && !off,
  };
}

/** Flags of ms-swift's own that bear the name of a field of Megatron's. */
const ofSwift: readonly string[] = ['loss_scale'];
const swiftFlags = (words: readonly Located[]): Assignment[] =>
  plainFlagsOf(words).filter(({ key }) => !ofSwift.includes(key));

/** A run of ms-swift's `megatron sft`: Megatron's fields as flags with underscores; the model's are read elsewhere. */
function swiftLaunch({ words, environment }: RunCommand): FrameworkLaunch[] {
  const [program, kind] = words;
  if (program?.text !== 'megatron' || !/^(?:sft|pt|rlhf)$/u.test(kind?.text ?? '')) return [];
  const number = (name: string): number | undefined => {
    const text = environment.get(name)?.text ?? '';
    return /^\d+$/u.test(text) ? Number(text) : undefined;
  };
  const [each, nodes = 1] = [number('NPROC_PER_NODE'), number('NNODES')];
  const ranks = each === undefined ? undefined : each * nodes;
  const called = `megatron ${kind?.text ?? ''}`;
  return [{ kind: 'bridge', program: called, ranks, environment, file: undefined, assignments: swiftFlags(words) }];
}

function launchOf(command: RunCommand, written: ReadonlyMap<string, string>): FrameworkLaunch[] {
  const { words, environment } = command;
  const swift = swiftLaunch(command);
  if (swift.length > 0) return swift;
  const json = valueBehind(words, deepspeedFiles);
  const [megatron] = megatronLaunchOf(command);
  if (json?.endsWith('.json') === true) {
    const text = written.get(json);
    return [
      {
        kind: 'deepspeed',
        ...started(command),
        file: json,
        ...(text === undefined ? {} : { text }),
        values: deepspeedValues(words),
        ...(megatron === undefined ? {} : { megatron }),
      },
    ];
  }
  if (megatron !== undefined) return [{ kind: 'megatron', ...megatron }];
  const flags = dottedFlagsOf(words);
  const toml =
    valueBehind(words, ['--job.config_file', '--job.config-file']) ??
    (words.some(({ text }) => text.endsWith('run_train.sh')) ? environment.get('CONFIG_FILE')?.text : undefined);
  if (toml !== undefined || looksLikeTorchtitan(flags))
    return [{ kind: 'torchtitan', ...started(command), file: toml, assignments: flags }];
  const overrides = overridesOf(words);
  if (!looksLikeOverrides(overrides)) return [];
  const yaml = words.map(({ text }) => text.replace(/^--[\w-]+=/u, '')).find((text) => /\.ya?ml$/u.test(text));
  return [{ kind: 'bridge', ...started(command), file: yaml, assignments: overrides }];
}

/** All runs in a script, in the order in which it starts them. */
export const frameworkLaunches = ({ commands, written = new Map() }: LaunchScript): FrameworkLaunch[] =>
  joinedCommands(commands).flatMap((command) => launchOf(command, written));
