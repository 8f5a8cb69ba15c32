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
 * Row counts that only routing decides, per rank. With C[s][e] the rows that token slice s of an expert group sends to expert e:
 *   sent: rows of this rank's own slice;   received: rows that its slice-wise all_to_all brings (sources of its own etp index)
 *   expert: rows of its experts from all slices of the group (what its expert GEMMs run on)
 *   replica: rows of all token slices of its replica (what a duplicated dispatch sends, or the late gather rebuilds)
 * and one that the layout decides:
 *   slice: tokens of this rank's slice, floor(T*(i+1)/tp) - floor(T*i/tp) for TP index i
 */
export type RowSymbol = 'sent' | 'received' | 'expert' | 'replica' | 'slice';

/**
 * A count of rows. A symbol is known only when routing is: the binding supplies it per rank and program node. `expected` is for
 * balanced routing, `max` is what storage must allow for (every row could come here).
 */
export type Size = number | { readonly symbol: RowSymbol; readonly expected: number; readonly max: number };

/**
 * How a region's rows lie, and hence what chunk c of n of it is.
 *   rows: one row per token; chunk c is rows floor(R*c/n)..floor(R*(c+1)/n)
 *   blocks: the canonical order of expert rows: [local expert][source slice][rows]; chunk c is the sub-range
 *     floor(m*c/n)..floor(m*(c+1)/n) of every block of m rows, so it is not contiguous when n > 1
 *   chunks: chunk after chunk, each contiguous: a communication buffer, always used with the same n
 */
export type Order = 'rows' | 'blocks' | 'chunks';

export interface Region {
  readonly id: string;
  readonly dtype: DType;
  readonly rows: Size;
  readonly columns: number;
  readonly order: Order;
  /**
   * layer: until the template ends; saved: from a layer's forward until its backward has ended; step: one for the whole step, shared by
   * all templates under its id.
   */
  readonly life: 'layer' | 'saved' | 'step';
}

/** A use of chunk `chunk` of `of` of a region; `of: 1` is the whole of it. `add` accumulates. */
export interface Use {
  readonly region: string;
  readonly chunk: number;
  readonly of: number;
  readonly mode: 'read' | 'write' | 'add';
}

export const collectiveNames = [
  'all_to_all',
  'all_gather',
  'reduce_scatter',
  'all_reduce',
  'broadcast',
  'send',
  'receive',
  'barrier',
] as const;

export type CollectiveName = (typeof collectiveNames)[number];

/** What a kernel costs on `rows` rows (chunk `chunk` of `of` of them): FLOPs and memory traffic. */
export interface Work {
  /** gemm and attention run at matrix rates, memory is bound by bandwidth. */
  readonly kind: 'gemm' | 'attention' | 'memory';
  readonly rows: Size;
  readonly chunk: number;
  readonly of: number;
  readonly flopsPerRow: number;
  readonly bytesPerRow: number;
  /** Bytes that do not depend on the rows, as weights read once. */
  readonly fixedBytes: number;
}

/**
 * What an operation does.
 *
 * collective: every rank of `group` takes part; the first use is read, the last is written (one use of mode `add` for in-place all_reduce
 *   and broadcast). `counts` names the family whose binding tells how many rows each rank exchanges with each other (chunk and number of
 *   chunks are those of its uses); without it rows are split equally, or by token slices with `split: 'tokens'`: of T rows, member i of n
 *   owns floor(T*i/n)..floor(T*(i+1)/n).
 * kernel: `name` is looked up in the executor's kernel registry; `work` is what it costs.
 * bind: the host waits for the counts that operations before it exchanged; from here on sizes are known.
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
  | { readonly kind: 'kernel'; readonly name: string; readonly work: Work }
  | { readonly kind: 'bind' };

/**
 * Families of routing-dependent exchanges. The sources of one `expert` group are its etp x ep ranks in group order (etp fastest), each
 * with its own token slice.
 *   dispatch.sliced:     all_to_all over ep; a rank sends its slice's rows of every expert to the ep rank that holds the expert
 *   dispatch.duplicated: all_to_all over ep; a rank sends the rows of all token slices of its replica (etp = tp)
 *   combine.sliced, combine.duplicated: the way back, their transposes
 *   gather:  all_gather over etp; member j contributes the rows that its sliced all_to_all received
 *   scatter: reduce_scatter over etp; member j keeps the rows of its own slices (adjoint of gather)
 *   expand:  all_gather over tp; member j contributes the rows of its own slice (DeepSpeed's gather of the returned expert buffer)
 */
export type SymbolFamily =
  'dispatch.sliced' | 'dispatch.duplicated' | 'combine.sliced' | 'combine.duplicated' | 'gather' | 'scatter' | 'expand';

export interface Operation {
  /** Names it within its template: the task, and its chunk where there are several. Only a key: what it is stands in the fields. */
  readonly id: string;
  /** What all its chunks do together, as `all_gather`. */
  readonly task: string;
  /** Which chunk of how many it is; 0 of 1 when its task is not cut. */
  readonly chunk: number;
  readonly of: number;
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
   * Rows that a rank sends to (contributes for) each member of the collective's group, and receives from each, for chunk `chunk` of `of`.
   * gather, expand: receive[j] is member j's contribution, send[0] the own one. scatter: send[j] rows for member j, receive[0] the own.
   */
  counts(
    family: SymbolFamily,
    rank: number,
    node: number,
    chunk: number,
    of: number,
  ): { readonly send: Int32Array; readonly receive: Int32Array };
  /** Rows of chunk `chunk` of `of` of a size symbol on a rank. */
  rows(symbol: RowSymbol, rank: number, node: number, chunk: number, of: number): number;
}
