/** Layouts and layer shapes from the flags of commands that work on one MoE layer. */
import {
  checkModelLayout,
  deviceCount,
  InputError,
  limits,
  parseLayout,
  type Cluster,
  type Layout,
  type MoeModel,
  type StepShape,
  type Strategy,
} from '@monta/core';

const usualSequence = 4096;

/** Reads a layout; a complaint says that it is about the flag. */
export function layoutFlag(text: string, cluster: Cluster, model?: MoeModel): Layout {
  try {
    const layout = parseLayout(text, deviceCount(cluster));
    if (model) checkModelLayout(model, layout);
    return layout;
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: '--layout' }) : error;
  }
}

export interface StepFlags {
  readonly sequence?: number;
  readonly sequences: number;
  readonly dtype: 'bf16' | 'f32';
}

/** Tokens of a sequence: given, or 4,096, or what the model allows if that is less. Throws `InputError` where there are none. */
function sequenceOf(flags: Omit<StepFlags, 'dtype'>, model: MoeModel): number {
  const sequence = flags.sequence ?? Math.min(usualSequence, model.maxPositions ?? usualSequence);
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

/** A step of one micro-batch; the sequence defaults to 4,096, or what the model allows if that is less. Throws `InputError`. */
export function stepOf(model: MoeModel, layout: Layout, flags: StepFlags, strategy: Strategy): StepShape {
  const sequence = sequenceOf(flags, model);
  return { model, layout, sequence, sequences: flags.sequences, microBatches: 1, dtype: flags.dtype, strategy };
}
