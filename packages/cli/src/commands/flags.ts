/** Flags, help texts and lazy loading that the commands share. */
import { countUpTo, InputError, limits, shownValue } from '@monta/core/units';
import type { MontaContext } from '../context.js';

export { helpText } from '../help.js';

/** `--env`: variables that a launch script starts with. */
export const scriptVariablesFlag = {
  kind: 'parsed',
  parse: String,
  placeholder: 'NAME=value',
  brief: 'A variable that the script starts with; may be repeated',
  optional: true,
  variadic: true,
} as const;

/** `--json`. */
export const jsonFlag = {
  kind: 'boolean',
  brief: 'Print the result as JSON: stable keys, SI base units (bytes, seconds, bytes/s, FLOP/s), no colour',
  default: false,
  withNegated: false,
} as const;

/** `--calibration`: measured link curves in place of the cluster file's latencies and bandwidths. */
export const calibrationFlag = {
  kind: 'parsed',
  parse: String,
  placeholder: 'file',
  brief: 'Link curves from monta calibrate, in place of datasheet latencies and bandwidths',
  optional: true,
} as const;

const hostText = (placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse: String, placeholder, brief, optional: true }) as const;

/** A count, from 1 (or `min`) to `max`: whatever is made of it has to fit. */
export const countFlag = (placeholder: string, brief: string, max: number, min = 1) =>
  ({ kind: 'parsed', parse: countUpTo(max, min), placeholder, brief }) as const;

const leastAmount = 1e-9;
const mostAmount = 1e15;

/** An amount above 0 that may be left out. */
export const amountFlag = (placeholder: string, brief: string) =>
  ({
    kind: 'parsed',
    parse: (text: string): number => {
      const value = text.trim() === '' ? NaN : Number(text);
      if (value >= leastAmount && value <= mostAmount) return value;
      throw new InputError(`${shownValue(text)} is no amount`, {
        expected: `a number from ${leastAmount} to ${mostAmount}`,
      });
    },
    placeholder,
    brief,
    optional: true,
  }) as const;

/** `--sequence`. */
export const sequenceFlag = (brief: string) =>
  ({ ...countFlag('tokens', brief, limits.tokens), optional: true }) as const;

/** `--sequences`. */
export const sequencesFlag = {
  ...countFlag('count', 'Sequences of one micro-batch of a replica', limits.sequences),
  default: '1',
} as const;

/** `--seed`. */
export const seedFlag = (brief: string) => ({ ...countFlag('number', brief, limits.seed, 0), default: '1' }) as const;

/** Which ranks run, for the commands that run some. */
export const hostFlags = {
  backend: hostText(
    'local|mpi|nccl',
    'Ranks are threads of this process (default), processes over Open MPI, or processes on GPUs over NCCL',
  ),
  device: hostText('cpu|cuda', "What computes: processors, or this machine's first GPU (one rank); nccl implies cuda"),
  ranksPerNode: {
    ...countFlag('n', 'With nccl: this machine stands for nodes of n ranks', limits.ranks),
    optional: true,
  },
  hosts: hostText('a:8,b:8', 'Hosts of an MPI job and the ranks on each (default: this machine)'),
  bind: hostText('address', 'Address of this machine that ranks on other hosts reach'),
  agent: hostText('path', 'Program that starts a command on another host, instead of ssh'),
  mpirun: hostText('options', 'Further options of mpirun, over those of Monta, in one word: "--mca btl_tcp_links 2"'),
  network: hostText('10.0.0.0/24', 'The network that carries the bytes, where hosts have several'),
} as const;

/** What a command does: gets its surroundings, its flags and its arguments. */
export type CommandAction<Flags, Arguments extends readonly unknown[]> = (
  context: MontaContext,
  flags: Flags,
  ...args: Arguments
) => void | Promise<void>;

/** A loader for `buildCommand` that imports what a command does only when it runs. */
export function lazy<Flags, Arguments extends readonly unknown[]>(
  load: () => Promise<CommandAction<Flags, Arguments>>,
): () => Promise<(this: MontaContext, flags: Flags, ...args: Arguments) => void | Promise<void>> {
  return async () => {
    const action = await load();
    return function runAction(this: MontaContext, flags: Flags, ...args: Arguments) {
      return action(this, flags, ...args);
    };
  };
}

/** What computes: this machine's processors, or its first GPU. */
export const deviceFlag = {
  kind: 'enum',
  values: ['cpu', 'cuda'],
  brief: "What computes: processors, or this machine's first GPU (one rank)",
  default: 'cpu',
} as const;

export const dtypeFlag = {
  kind: 'enum',
  values: ['f32', 'bf16'],
  brief: 'What is computed in; bf16 on a GPU, with weights and gradients kept in f32',
  default: 'f32',
} as const;
