/**
 * What a dispatcher is. It has two halves, chosen separately: an *outgoing* half brings rows from the ranks that hold
 * the tokens to the ranks that hold their experts, a *returning* half brings expert rows back and leaves them ready to
 * be summed over each token's picks. The forward pass runs outgoing, experts, returning. The backward pass runs
 * outgoing (as the adjoint of the forward's returning half, on gradients weighted by the picks' probabilities) and
 * returning (as the adjoint of the outgoing half), with a chunk count of its own.
 *
 * A half emits the operations of one chunk in stages. Lanes are in-order queues, so the order of issue decides what
 * overlaps: stage s of chunk c is issued together with stage s+1 of chunk c-1 (`emitStages`), so that no lane waits for
 * a chunk's later stage while the next chunk's earlier one could run. The layer composes the halves with the expert
 * GEMMs between them. A half brings along how many rows its exchanges move (`Exchange`), how many rows its buffers hold
 * (`Size`), and in which order they lie there (`RowOrder`). Adding a dispatcher: a new file here, and an entry in
 * `strategies.ts`.
 */
import type { Layout } from '../../layout/layout.js';
import { isPlaced, nodeOf, worldSize } from '../../layout/mesh.js';
import type { Activation, Region } from '../schedule.js';
import { rowsRegion, type MoeShape } from '../moe-shape.js';
import { sliceRows, type RowOrder, type Scope, type Size } from '../rows.js';
import type { Payload } from '../payload.js';
import type { TemplateBuilder } from '../template-builder.js';

export interface ChunkContext {
  readonly builder: TemplateBuilder;
  readonly shape: MoeShape;
  readonly activation: Activation;
  readonly chunk: number;
  readonly of: number;
  /** As what rows travel; absent: in the layer's type. Only on the way out. */
  readonly payload?: Payload;
}

export interface OutgoingContext extends ChunkContext {
  /** Token rows to send: region of all T rows or of this rank's slice. */
  readonly source: string;
  /** Multiply every row by its pick's probability while packing (the backward of the weighted sum). */
  readonly weighted: boolean;
  /** Canonical expert rows (order 'blocks') to fill. */
  readonly into: string;
}

export interface ReturningContext extends ChunkContext {
  /** Canonical expert rows, partial sums over etp. */
  readonly source: string;
  /**
   * Whether the returned rows must outlive the template (the backward needs them): so in the forward pass, where sums
   * are weighted.
   */
  readonly saved: boolean;
}

/** Emits one stage of one chunk. */
export type Stage<Context> = (context: Context) => void;

/**
 * Issues all chunks through all stages: in turn i, stage s of chunk i - s, or chunk after chunk. A stage does the same
 * for every chunk, so that only the first is asked of it.
 */
export function emitStages(
  builder: TemplateBuilder,
  of: number,
  emitted: readonly ((chunk: number) => void)[],
  inTurns = true,
): void {
  const stages = emitted.map((emit) => builder.eachChunk(emit));
  if (!inTurns) {
    for (let chunk = 0; chunk < of; chunk++) for (const emit of stages) emit(chunk);
    return;
  }
  for (let turn = 0; turn < of + stages.length - 1; turn++)
    stages.forEach((emit, stage) => {
      const chunk = turn - stage;
      if (chunk >= 0 && chunk < of) emit(chunk);
    });
}

export interface OutgoingHalf {
  readonly name: string;
  /** Tokens whose rows this rank packs. */
  readonly scope: Scope;
  /** Why it can't serve this shape, or undefined. */
  unsupported(shape: Pick<MoeShape, 'layout'>): string | undefined;
  /** Counts need the picks of all tokens of the expert group, not only their sums: the layer exchanges them. */
  readonly picks?: true;
  /**
   * A row may serve several picks, so that it cannot be weighted where it is packed: the layer weighs the rows at their
   * experts.
   */
  readonly shared?: true;
  readonly stages: readonly Stage<OutgoingContext>[];
}

/** Rows that a returning half leaves to be summed. */
export interface ReturnedRows {
  /** Tokens whose rows they are. */
  readonly scope: Scope;
  readonly order: RowOrder;
  size(shape: MoeShape): Size;
}

export interface ReturningHalf {
  readonly name: string;
  /** Tokens whose returned rows this rank ends up with. */
  scope(activation: Activation): Scope;
  /** Tokens whose routing it must know to find its rows. */
  routing(activation: Activation): Scope;
  unsupported(shape: Pick<MoeShape, 'layout'>): string | undefined;
  readonly picks?: true;
  /**
   * What the region of `returnedRegion` holds: whose tokens' rows, how many, and in which order. Absent where picks are
   * summed on the way (`picks` is set, scope is `slice`): then the region of `summedRegion` is filled.
   */
  returned?(activation: Activation): ReturnedRows;
  /** Together they fill the region of `returnedRegion`, or of `summedRegion`. */
  readonly stages: readonly Stage<ReturningContext>[];
}

/** A half that leaves expert rows to be summed. */
export type RowsHalf = ReturningHalf & Required<Pick<ReturningHalf, 'returned'>>;

export const returnsRows = (half: ReturningHalf): half is RowsHalf => half.returned !== undefined;

/** The region of the own slice's tokens, summed over their picks, that a half fills which sums on the way. */
export const summedRegion = (shape: MoeShape): Region =>
  rowsRegion({
    id: 'summed',
    shape,
    rows: sliceRows(shape.tokens, shape.layout.tp),
    columns: shape.hiddenSize,
    order: 'rows',
  });

/** The region (order 'chunks') that a returning half fills; that of a forward pass is saved for the backward. */
export const returnedRegion = (half: RowsHalf, shape: MoeShape, activation: Activation, saved: boolean): Region =>
  rowsRegion({
    id: saved ? 'returned.forward' : 'returned',
    shape,
    rows: half.returned(activation).size(shape),
    columns: shape.hiddenSize,
    order: 'chunks',
    life: saved ? 'saved' : 'layer',
  });

type GroupNodes = { readonly nodes: number; readonly ranks: number } | string;
const knownNodes = new WeakMap<Layout, GroupNodes>();

/**
 * How an expert group lies on nodes, for halves with a hop between nodes and one inside: equally many of its ranks on
 * each, so that rails are whole. Else what is missing, in words.
 */
export function groupNodes(layout: Layout): GroupNodes {
  let nodes = knownNodes.get(layout);
  if (nodes === undefined) knownNodes.set(layout, (nodes = findGroupNodes(layout)));
  return nodes;
}

function findGroupNodes(layout: Layout): GroupNodes {
  if (!isPlaced(layout)) return 'it is not known which ranks share a node';
  const ranks = layout.etp * layout.ep;
  const sizes = new Set<number>();
  // a group's ranks follow one another, and so do those of a node
  const { ranksPerNode: perNode = ranks } = layout;
  for (let first = 0; first < worldSize(layout); first += ranks)
    for (let node = nodeOf(layout, first); node * perNode < first + ranks; node++)
      sizes.add(Math.min(first + ranks, (node + 1) * perNode) - Math.max(first, node * perNode));
  const [size = 1] = sizes;
  return sizes.size === 1
    ? { nodes: ranks / size, ranks: size }
    : `rails need equally many ranks of an expert group on each node, and there are ${[...sizes].join(' and ')}`;
}
