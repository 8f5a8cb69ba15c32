/** Layouts and layer shapes from the flags of commands that work on one MoE layer. */
import type { Cluster, Layout, MoeModel, StepShape, Strategy } from '@monta/core';
import { InputError, limits } from '@monta/core/units';
import { deviceCount } from '@monta/core/cluster';
import { checkModelLayout, checkSequence, occupiedBy, parseLayout, placedOn } from '@monta/core/layout';
import { usualSequence } from '@monta/core/model';
import { overlapFlags, overlapOf, type OverlapFlags } from '../config/overlap-config.js';
import { payloadFlags, payloadOf, type PayloadFlags } from '../config/payload-config.js';
import { countFlag, sequenceFlag, sequencesFlag } from './flags.js';

/**
 * The cluster, or what of it a layout of fewer ranks occupies; a complaint about the layout says that it is about the
 * flag.
 */
export function clusterUnder(layout: string, cluster: Cluster): Cluster {
  try {
    return occupiedBy(layout, cluster);
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: '--layout' }) : error;
  }
}

/** Which devices of the cluster are used, where some are idle: a row of facts, or none. */
export const usedDevices = ({ part }: Cluster): (readonly [string, string])[] =>
  part === undefined ? [] : [['Devices', `${part.used}; the others are idle`]];

/**
 * Reads a layout that can be planned, with `pipeline` one of several stages too; a complaint says that it is about the
 * flag.
 */
export function layoutFlag(
  text: string,
  cluster: Cluster,
  { model, pipeline = false }: { readonly model?: MoeModel; readonly pipeline?: boolean } = {},
): Layout {
  try {
    const layout = parseLayout(text, deviceCount(cluster));
    if (model) checkModelLayout(model, layout);
    refuseUnplanned(pipeline ? { ...layout, pp: 1 } : layout);
    return placedOn(layout, cluster);
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: '--layout' }) : error;
  }
}

/** Throws `InputError` for what no program of one stage has: a price would be that of another layout. */
function refuseUnplanned(layout: Layout): void {
  const { pp, cp } = layout;
  const searched = (['tp', 'cp', 'pp', 'dp', 'ep', 'etp'] as const).map((key) => `--${key} ${layout[key]}`).join(' ');
  const whole = `monta plan ${searched}, in place of --layout, plans it whole`;
  if (cp > 1)
    throw new InputError(`cp=${cp}: no layer is simulated with context parallelism`, {
      expected: 'cp=1',
      hint: `${whole}; a price with cp=1 would be that of more data parallelism, not of shorter sequences`,
    });
  if (pp > 1)
    throw new InputError(`pp=${pp}: how tokens travel is chosen within one pipeline stage`, {
      expected: 'pp=1: the ranks of a stage',
      hint: `${whole}; without pp=${pp} the layout is that of its first stage, on the first devices`,
    });
}

/** What a command is asked about. */
export interface SubjectFlags {
  readonly model: string;
  readonly cluster: string;
  readonly layout: string;
}

/** The flags, to be spread into a command's. */
export const subjectFlags = {
  model: { kind: 'parsed', parse: String, placeholder: 'name|config.json', brief: 'What is trained' },
  cluster: { kind: 'parsed', parse: String, placeholder: 'name|file', brief: 'Where' },
  layout: {
    kind: 'parsed',
    parse: String,
    placeholder: 'tp=8,dp=2,ep=2',
    brief: 'Parallel degrees: tp, cp, dp, pp, ep, etp; sp for sequence parallelism',
  },
} as const;

export interface StepFlags extends OverlapFlags, PayloadFlags {
  readonly sequence?: number;
  readonly sequences: number;
  readonly dtype: 'bf16' | 'f32';
  readonly microBatches: number;
  readonly capacityFactor?: number;
}

/** `1.25`: no more than would give one expert all. */
function parseFactor(text: string): number {
  const factor = Number(text);
  if (text.trim() === '' || !(factor >= limits.leastFactor && factor <= limits.experts))
    throw new InputError(`"${text}" is not a capacity factor`, {
      expected: `a number like 1.25, from ${limits.leastFactor} to ${limits.experts}`,
    });
  return factor;
}

/** The flags, to be spread into a command's. */
export const stepFlags = {
  sequence: sequenceFlag('Tokens of a sequence (default: 4,096, or what the model allows if that is less)'),
  sequences: sequencesFlag,
  microBatches: {
    ...countFlag(
      'count',
      'Micro-batches of a step, whose gradients are accumulated and reduced once (gradient accumulation)',
      limits.sequences,
    ),
    default: '1',
  },
  capacityFactor: {
    kind: 'parsed',
    parse: parseFactor,
    placeholder: 'factor',
    brief: 'Capacity of an expert over its even share; tokens above it are dropped (default: none are)',
    optional: true,
  },
  ...payloadFlags,
  ...overlapFlags,
} as const;

/**
 * Tokens of a sequence: given, or 4,096, or what the model allows if that is less. Throws `InputError` where there are
 * none.
 */
export function sequenceOf(flags: Pick<StepFlags, 'sequence' | 'sequences'>, model: MoeModel): number {
  const sequence = flags.sequence ?? usualSequence(model);
  for (const [flag, value] of [
    ['--sequence', sequence],
    ['--sequences', flags.sequences],
  ] as const)
    if (value < 1) throw new InputError(`there are no tokens: it is ${value}`, { file: flag, expected: 'at least 1' });
  if (sequence * flags.sequences > limits.tokens)
    throw new InputError(`${flags.sequences} sequences of ${sequence} are ${sequence * flags.sequences} tokens`, {
      file: '--sequences',
      expected: `at most ${limits.tokens} tokens of a replica`,
    });
  return sequence;
}

/** Throws `InputError` about the flag where the layout does not cut sequences into equal pieces. */
function checkPieces(sequence: number, layout: Layout): void {
  try {
    checkSequence(sequence, layout);
  } catch (error) {
    throw error instanceof InputError ? error.about('--sequence') : error;
  }
}

/** A step; the sequence defaults to 4,096, or what the model allows if that is less. Throws `InputError`. */
export function stepOf(model: MoeModel, layout: Layout, flags: StepFlags, strategy: Strategy): StepShape {
  const sequence = sequenceOf(flags, model);
  checkPieces(sequence, layout);
  const { sequences, microBatches, dtype, capacityFactor } = flags;
  const capacity = capacityFactor === undefined ? {} : { capacityFactor };
  const travel = { ...payloadOf(flags), ...overlapOf(flags) };
  return { model, layout, sequence, sequences, microBatches, dtype, strategy, ...capacity, ...travel };
}
