/**
 * A schedule is data with several readers. A *template* is a list of operations, in issue order, with the buffer
 * regions they read and write; a *program* strings templates together into a training step. Traffic counts a program's
 * bytes, memory its live regions, the simulator prices it, and the executor runs the very same object on real ranks.
 */
import type { Group } from '../layout/layout.js';
import type { Part } from '../routing/group-routing.js';
import type { Mode } from './kernels/kernel-spec.js';
import type { Slot } from './parameter.js';
import type { Exchange, ExchangeCounts, RowRule, Size } from './rows.js';
import type { Work } from './work.js';

export type { Size } from './rows.js';
export type { Work } from './work.js';

/**
 * An in-order queue of one rank, like a stream of a GPU. It names a role (which work queues there), not a network tier.
 */
export type Lane = 'compute' | 'inter' | 'intra' | 'copy' | 'shared';

/** Element types of buffers. Planning usually takes bf16 activations, the CPU runtime computes in f32. */
export type DType = 'f32' | 'bf16' | 'f16' | 'fp8' | 'i32';

/** Over TP: full copies on every rank, or slices (sequence parallelism). */
export type Activation = 'replicated' | 'sequence';

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
  readonly life: Life;
  /** Whose weights or gradients it holds, of a parameter that templates know. */
  readonly parameter?: { readonly what: 'weights' | 'gradients'; readonly slot: Slot };
  /** Of a saved region: stays whatever is recomputed, as routing does, which is neither counted nor exchanged twice. */
  readonly kept?: true;
  /** Of a flat region of life `parameter`: what it is made of, so that a use of it is one of each of its parts. */
  readonly parts?: readonly PartRegion[];
}

/**
 * How long a region lives, and who shares it under its id.
 *   layer: until its node ends;   saved: from a layer's forward until its backward has ended
 *   pass: one for each layer and micro-batch in either direction (recomputation counts as backward), from its first
 *     use to its last
 *   microBatch: one for every micro-batch, from its first use to its last;   step: one for the whole step
 *   parameter: longer than a step, one for every layer: weights, gradients, moments
 */
export type Life = 'layer' | 'saved' | 'pass' | 'microBatch' | 'step' | 'parameter';

/** A parameter region of a layer; -1 for those of no layer. */
export interface PartRegion {
  readonly region: string;
  readonly layer: number;
}

/**
 * A use of chunk `chunk` of `of` of a region in a role of the operation; `of: 1` is the whole of it. `add` reads what
 * is there and changes it. With `slice` only the rows of this rank's token slice are meant, where the region holds all
 * T rows.
 */
export interface Use {
  readonly role: string;
  readonly region: string;
  readonly chunk: number;
  readonly of: number;
  readonly mode: Mode;
  readonly slice?: true;
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

/**
 * What an operation does.
 *
 * collective: every rank of `group` takes part. Roles are `from` and `to`, or `buffer` of mode `add` for in-place
 * all_reduce and broadcast.
 *   `counts` tells how many rows each rank exchanges with each other (chunk and number of chunks are those of its
 *   uses); without it rows are split equally, or by token slices with `split: 'tokens'`: of T rows, member i of n owns
 *   floor(T*i/n)..floor(T*(i+1)/n).
 * kernel: `name`, roles and `arguments` are those of the catalogue in `kernels.ts`; `work` is what it costs.
 * bind: the host waits for the counts that operations before it exchanged; from here on sizes are known.
 */
export type Body =
  | {
      readonly kind: 'collective';
      readonly name: CollectiveName;
      readonly group: Group;
      readonly counts?: Exchange;
      readonly split?: 'equal' | 'tokens';
      readonly reduction?: 'sum' | 'max';
    }
  | {
      readonly kind: 'kernel';
      readonly name: string;
      readonly arguments: Readonly<Record<string, unknown>>;
      readonly work: Work;
    }
  | { readonly kind: 'bind' };

/** The use of a role, or undefined. */
export const useOf = ({ uses }: Pick<Operation, 'uses'>, role: string): Use | undefined =>
  uses.find((use) => use.role === role);

/**
 * What a collective reads and what it leaves its result in: one and the same in place. Throws when it has no operands.
 */
export function collectiveUses(operation: Operation): { readonly from: Use; readonly to: Use } {
  const buffer = useOf(operation, 'buffer');
  const [from, to] = [useOf(operation, 'from') ?? buffer, useOf(operation, 'to') ?? buffer];
  if (from === undefined || to === undefined)
    throw new RangeError(`collective ${operation.id} has no operands; expected from and to, or buffer`);
  return { from, to };
}

export interface Operation {
  /**
   * Names it within its template: the task, and its chunk where there are several. Only a key: what it is stands in the
   * fields.
   */
  readonly id: string;
  /** What all its chunks do together, as `all_gather`. */
  readonly task: string;
  /** Which chunk of how many it is; 0 of 1 when its task is not cut. */
  readonly chunk: number;
  readonly of: number;
  readonly lane: Lane;
  readonly body: Body;
  readonly uses: readonly Use[];
  /**
   * Ids of operations of the same template that must have ended before; the order of queues holds besides
   * (`compile.ts`).
   */
  readonly after: readonly string[];
  /** Higher goes first where a port or a multiprocessor is shared; 0 is normal. */
  readonly priority: number;
}

/** Parts of a model that have templates of their own. */
export type Block = 'embedding' | 'attention' | 'moe' | 'mlp' | 'head';

/** Whose pass a template is. */
export interface BlockPass {
  readonly block: Block;
  readonly pass: 'forward' | 'recompute' | 'backward';
}

/** The key of a block's template in a program. */
export const blockTemplate = (block: Block, pass: BlockPass['pass']): string => `${block}.${pass}`;

export interface Template {
  /** Names it within its program. Only a key: what it is stands in the fields. */
  readonly name: string;
  /** Absent for what moves the stream between stages, or moves, reduces or updates states. */
  readonly of?: BlockPass;
  readonly input: Activation;
  readonly output: Activation;
  readonly regions: readonly Region[];
  /** In issue order. */
  readonly operations: readonly Operation[];
}

/**
 * forward, backward: the two passes of a layer (backward computes input and weight gradients); recompute: what the
 * forward did not keep is computed again for the backward; reduce: gradients are summed over the ranks that share them;
 * update: clipping and optimizer.
 */
export type Pass = 'forward' | 'recompute' | 'backward' | 'reduce' | 'update';

export interface ProgramNode {
  readonly template: string;
  /** Layer number; -1 for what belongs to no layer (embedding, head, update). */
  readonly layer: number;
  readonly microBatch: number;
  readonly pass: Pass;
  /**
   * Of the template's operations only those from `first` to before `end`. Such nodes of one pass over a layer follow
   * one another in order and are one: they share the regions that live as long as a node. All of them when left out.
   */
  readonly part?: { readonly first: number; readonly end: number };
  /** Indices of nodes that must have ended before this one starts, beyond what the regions that both use demand. */
  readonly after: readonly number[];
}

/** One program per pipeline stage, the same for all ranks of the stage; ranks differ only by their binding. */
export interface Program {
  readonly stage: number;
  readonly templates: Readonly<Record<string, Template>>;
  readonly nodes: readonly ProgramNode[];
}

/** The operations of a node: its template's, or those of them that it is. */
export function operationsOf({ templates }: Program, { template, part }: ProgramNode): readonly Operation[] {
  const operations = templates[template]?.operations ?? [];
  return part === undefined ? operations : operations.slice(part.first, part.end);
}

export type Likeness = 'ranks' | 'groups';

/**
 * Supplies what routing decides, per rank and program node. The simulator binds expected, skewed or recorded routing;
 * the executor binds what was exchanged.
 */
export interface Binding {
  /** Rows of a chunk that a rank exchanges with each member of the collective's group. */
  counts(exchange: Exchange, rank: number, node: number, part: Part): ExchangeCounts;
  /** Rows of a chunk on a rank. */
  rows(rule: RowRule, rank: number, node: number, part: Part): number;
  /**
   * Which ranks see the same, at every node, so that one may stand for all. ranks: every rank sends the same to every
   * rank; groups: expert groups do not differ from one another. Absent: nothing is said.
   */
  readonly alike?: Likeness;
}
