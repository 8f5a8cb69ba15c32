/**
 * A schedule is data with several readers. A *template* is a list of operations, in issue order, with the buffer regions they
 * read and write; a *program* strings templates together into a training step. Traffic counts a program's bytes, memory its
 * live regions, the simulator prices it, and the executor runs the very same object on real ranks.
 */
import type { Group } from '../layout/layout.js';

/** An in-order queue of one rank, like a stream of a GPU. It names a role (which work queues there), not a network tier. */
export type Lane = 'compute' | 'inter' | 'intra' | 'copy';

/** Element types of buffers. Planning usually takes bf16 activations, the CPU runtime computes in f32. */
export type DType = 'f32' | 'bf16' | 'f16' | 'fp8' | 'i32';

/** Over TP: full copies on every rank, or slices (sequence parallelism). */
export type Activation = 'replicated' | 'sequence';

/**
 * A count of rows. A symbol is known only when routing is: the binding supplies it per rank and program node. `expected` is for
 * balanced routing, `max` is what storage must allow for before counts are known (Infinity: no bound; the executor sizes on bind).
 */
export type Size = number | { readonly symbol: string; readonly expected: number; readonly max: number };

export interface Region {
  readonly id: string;
  readonly dtype: DType;
  readonly rows: Size;
  readonly columns: number;
  /** operation: scratch of neighbours; layer: until the template ends; saved: until this layer's backward; step: the whole step. */
  readonly life: 'operation' | 'layer' | 'saved' | 'step';
}

/** A use of chunk `chunk` of `of` equal shares of a region; `of: 1` is the whole of it. `add` accumulates. */
export interface Use {
  readonly region: string;
  readonly chunk: number;
  readonly of: number;
  readonly mode: 'read' | 'write' | 'add';
}

export type CollectiveName =
  'all_to_all' | 'all_gather' | 'reduce_scatter' | 'all_reduce' | 'broadcast' | 'send' | 'receive' | 'barrier';

/**
 * What an operation does.
 *
 * collective: every rank of `group` takes part. `counts` names the symbol family (see `SymbolFamily`) whose binding tells how
 *   many rows each rank sends to or contributes for each other; without it the region is split equally (all_to_all, all_gather)
 *   or by token slices (`split: 'tokens'`).
 * kernel: `name` is looked up in the executor's kernel registry; `flops` and `bytes` (memory traffic) are what it costs.
 * bind: host waits for the counts that the operation before it exchanged; from here on sizes are known.
 */
export type Body =
  | {
      readonly kind: 'collective';
      readonly name: CollectiveName;
      readonly group: Group;
      readonly counts?: SymbolFamily;
      readonly split?: 'equal' | 'tokens';
      readonly reduction?: 'sum' | 'max';
    }
  | { readonly kind: 'kernel'; readonly name: string; readonly flops: Size; readonly bytes: Size }
  | { readonly kind: 'bind'; readonly symbols: readonly string[] };

/**
 * Families of routing-dependent row counts. Let C[s][e] be the rows that source s sends to expert e, where the sources of one
 * `expert` group are its etp x ep ranks, each with its own token slice (etpIndex fastest).
 *   dispatch.sliced:     all_to_all over ep; rank sends its slice's rows of every expert to the ep rank that holds the expert
 *   dispatch.duplicated: all_to_all over ep; rank sends the rows of all token slices of its replica (etp = tp)
 *   gather:              all_gather over etp; every rank contributes the rows that its sliced all_to_all received
 *   scatter:             reduce_scatter over etp; every rank keeps the rows of its own etp index (adjoint of gather)
 *   combine.sliced, combine.duplicated: the all_to_all back, transposes of the dispatches
 *   expand:              all_gather over tp of the returned expert buffer (rows of every token slice), DeepSpeed's late gather
 */
export type SymbolFamily =
  'dispatch.sliced' | 'dispatch.duplicated' | 'gather' | 'scatter' | 'combine.sliced' | 'combine.duplicated' | 'expand';

export interface Operation {
  readonly id: string;
  readonly lane: Lane;
  readonly body: Body;
  readonly uses: readonly Use[];
  /** Ids of operations of the same template that must have ended before; lane order holds besides. */
  readonly after: readonly string[];
  /** Higher goes first where a port or a multiprocessor is shared; 0 is normal. */
  readonly priority: number;
}

export interface Template {
  readonly name: string;
  readonly input: Activation;
  readonly output: Activation;
  readonly regions: readonly Region[];
  /** In issue order. */
  readonly operations: readonly Operation[];
}

/**
 * forward, backward: the two passes of a layer (backward computes input and weight gradients); update: gradient reduction,
 * clipping and optimizer.
 */
export type Pass = 'forward' | 'backward' | 'update';

export interface ProgramNode {
  readonly template: string;
  /** Layer number; -1 for what belongs to no layer (embedding, head, update). */
  readonly layer: number;
  readonly microBatch: number;
  readonly pass: Pass;
  /** Indices of nodes that must have ended before this one starts. */
  readonly after: readonly number[];
}

/** One program per pipeline stage, the same for all ranks of the stage; ranks differ only by their binding. */
export interface Program {
  readonly stage: number;
  readonly templates: Readonly<Record<string, Template>>;
  readonly nodes: readonly ProgramNode[];
}

/**
 * Supplies what routing decides. The simulator binds expected, skewed or recorded counts; the executor binds the counts that
 * were exchanged.
 */
export interface Binding {
  /**
   * Row counts of one rank for a collective with `counts`: what it sends to (or contributes for) each member of the group,
   * and what it receives from each, for chunk `chunk` of `of`.
   */
  counts(
    family: SymbolFamily,
    rank: number,
    node: number,
    chunk: number,
    of: number,
  ): { send: Int32Array; receive: Int32Array };
  /** Value of a size symbol on a rank, rows. */
  size(symbol: string, rank: number, node: number): number;
}
