/** What an entry of the catalogue of kernels says: roles of operands with their modes, and arguments. */
import type { ClampedSwiglu, ExpertGroups, RopeScaling } from '../../model/model.js';
import type { RowOrder, RowPairs, Scope } from '../rows.js';

/** read; write: what was there before is lost; add: reads what is there and leaves it changed. */
export type Mode = 'read' | 'write' | 'add';

export interface Role {
  readonly modes: readonly Mode[];
  readonly optional?: true;
  /** Whether the kernel runs at another speed where an optional operand is given: such kernels are priced apart. */
  readonly pricedApart?: true;
}

/** Heads of attention over all TP ranks. */
export interface HeadArguments {
  readonly attentionHeads: number;
  readonly keyValueHeads: number;
  /** Width of a query and of a key. */
  readonly headDim: number;
  /** Width of a value, where it is another. */
  readonly valueDim?: number;
  /** Factor on scores beside 1 / sqrt(headDim). */
  readonly scoreScaling?: number;
}

/** Widths of latent attention, per head but for the rank. */
export interface LatentArguments {
  readonly keyValueRank: number;
  readonly nope: number;
  readonly rope: number;
  readonly value: number;
}

/** How experts are scored and chosen, where it is not softmax and the largest. */
export interface SelectionArgument {
  readonly scoring: 'softmax' | 'sigmoid';
  /** Factor on the weights of the chosen. */
  readonly scaling: number;
  readonly groups?: ExpertGroups;
}

/** Tokens that a token attends to, itself included, in the layers where the window holds. */
export interface WindowArgument {
  readonly tokens: number;
  readonly layers: readonly boolean[];
}

/** Types of argument fields. */
export interface FieldTypes {
  readonly number: number;
  readonly boolean: boolean;
  readonly scope: Scope;
  readonly order: RowOrder;
  readonly pairs: RowPairs;
  readonly heads: HeadArguments;
  readonly window: WindowArgument;
  readonly ropeScaling: RopeScaling;
  readonly swiglu: ClampedSwiglu;
  readonly latent: LatentArguments;
  readonly selection: SelectionArgument;
}

export type FieldTag = keyof FieldTypes | `${keyof FieldTypes}?`;

/**
 * Arguments that a template cannot hold, since they differ by rank, layer, step or routing; the executor binds them
 * when it launches.
 *   tp, etp: this rank's index and how many there are
 *   layer: number of the layer
 *   slice: [start, end) of the rank's tokens within the replica
 *   step: number, targets and optimizer of the training step
 *   tensors: where each trained parameter lies in the flat states;   selectionBiases: where the selection biases do
 *   send, arrived, section, returned, segments, moves: plans of row moves (see the runtime's `rows/`)
 */
export type BoundArgument =
  | 'tp'
  | 'etp'
  | 'layer'
  | 'slice'
  | 'step'
  | 'tensors'
  | 'selectionBiases'
  | 'send'
  | 'arrived'
  | 'section'
  | 'returned'
  | 'segments'
  | 'moves';

export interface KernelSpec {
  readonly roles: Readonly<Record<string, Role>>;
  readonly fields?: Readonly<Record<string, FieldTag>>;
  readonly bound?: readonly BoundArgument[];
}

/** Modes of roles. */
export const reads = { modes: ['read'] } as const;
export const writes = { modes: ['write'] } as const;
export const adds = { modes: ['add'] } as const;
export const writesOrAdds = { modes: ['write', 'add'] } as const;
export const mayRead = { modes: ['read'], optional: true } as const;
export const mayWrite = { modes: ['write'], optional: true } as const;
export const mayAdd = { modes: ['add'], optional: true } as const;
