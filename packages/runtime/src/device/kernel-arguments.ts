/**
 * What every device's kernels are given beside their operands: the fields of the catalogue, and what the executor binds
 * at launch.
 */
import type { ArgumentsOf, BoundArgument, BoundOf, KernelName, Run } from '@monta/core';
import type { PlannedMoves } from '../rows/planned-moves.js';
import type { PickOrder, ReturnedPicks } from '../rows/pick-order.js';
import type { Moves, Segments } from '../moe/index.js';

/** AdamW's settings in a step (Loshchilov and Hutter, arXiv 1711.05101). */
export interface OptimizerArguments {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Global norm to which gradients are clipped; absent: not clipped. */
  readonly maxNorm?: number;
}

/** What differs from step to step. */
export interface StepArguments {
  /** Targets that count, over all replicas and micro-batches: the loss is their mean. */
  readonly targets: number;
  /** Counts from 1. */
  readonly number: number;
  /** Absent: weights stay. */
  readonly optimizer?: OptimizerArguments | undefined;
  /** Token id whose embedding takes no gradient. */
  readonly paddingId?: number | undefined;
}

/** Where a parameter's shard lies in the flat states, and how many ranks hold the same elements. */
export interface TensorRun extends Run {
  readonly copies: number;
}

/** Values of the bound arguments, by the names of the catalogue. */
export interface BoundArguments {
  readonly tp: { readonly index: number; readonly size: number };
  readonly etp: { readonly index: number; readonly size: number };
  readonly layer: number;
  readonly slice: { readonly start: number; readonly end: number };
  readonly step: StepArguments;
  readonly tensors: readonly TensorRun[];
  readonly selectionBiases: readonly TensorRun[];
  /** From canonical rows of the tokens, which `permutation` orders, to rows of the send buffer's chunk. */
  readonly send: { readonly permutation: PickOrder; readonly moves: Moves };
  /** Between canonical rows of this rank's experts and rows of the buffer's chunk. */
  readonly arrived: Moves;
  /** Rows [start, end) of this rank's section in the gathered chunk. */
  readonly section: { readonly start: number; readonly end: number };
  /** Where each pick of the combined tokens finds its row in the returned buffer. */
  readonly returned: ReturnedPicks;
  /** Runs of canonical rows by local expert. */
  readonly segments: Segments;
  /** Of the chunk: each fine row, its coarse row, and the pick that it serves. */
  readonly moves: PlannedMoves;
}

/** All arguments of a kernel. */
export type KernelArguments<Name extends KernelName> = ArgumentsOf<Name> & Pick<BoundArguments, BoundOf<Name>>;

/** Everything that `BoundArgument` names has a value here, and nothing else. */
export type BoundArgumentValue<Name extends BoundArgument> = BoundArguments[Name];
