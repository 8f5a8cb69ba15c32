/**
 * What a dispatcher is. It has two halves, chosen separately: an *outgoing* half brings rows from the ranks that hold the tokens to the
 * ranks that hold their experts, a *returning* half brings expert rows back and leaves them ready to be summed over each token's picks.
 * The forward pass runs outgoing, experts, returning. The backward pass runs outgoing (as the adjoint of the forward's returning half, on
 * gradients weighted by the picks' probabilities) and returning (as the adjoint of the outgoing half), with a chunk count of its own.
 *
 * A half emits the operations of one chunk in stages. Lanes are in-order queues, so the order of issue decides what overlaps: stage s of
 * chunk c is issued together with stage s+1 of chunk c-1 (`emitStages`), so that no lane waits for a chunk's later stage while the next
 * chunk's earlier one could run. The layer composes the halves with the expert GEMMs between them.
 * Adding a dispatcher: a new file here, an entry in `strategies.ts`, kernels in the runtime if it needs new ones.
 */
import type { Activation, Region } from '../schedule.js';
import { rowsOf, rowsRegion, type MoeShape } from '../moe-shape.js';
import type { TemplateBuilder } from '../template-builder.js';

/** Which tokens a rank handles: those of its own slice, or all of its replica's (redundantly with its TP peers). */
export type Scope = 'slice' | 'replica';

export interface ChunkContext {
  readonly builder: TemplateBuilder;
  readonly shape: MoeShape;
  readonly activation: Activation;
  readonly chunk: number;
  readonly of: number;
}

export interface OutgoingContext extends ChunkContext {
  /** Token rows to send: region of all T rows or of this rank's slice; the pack kernel finds the slice's offset from its rows. */
  readonly source: string;
  /** Multiply every row by its pick's probability while packing (the backward of the weighted sum). */
  readonly weighted: boolean;
  /** Canonical expert rows (order 'blocks') to fill. */
  readonly into: string;
}

export interface ReturningContext extends ChunkContext {
  /** Canonical expert rows, partial sums over etp. */
  readonly source: string;
  /** Whether the returned rows must outlive the template (the backward needs them). */
  readonly saved: boolean;
}

/** Emits one stage of one chunk. */
export type Stage<Context> = (context: Context) => void;

/** Issues all chunks through all stages: in turn i, stage s of chunk i - s. */
export function emitStages(of: number, stages: readonly ((chunk: number) => void)[]): void {
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
  readonly stages: readonly Stage<OutgoingContext>[];
}

export interface ReturningHalf {
  readonly name: string;
  /** Tokens whose returned rows this rank ends up with. */
  scope(activation: Activation): Scope;
  /** Tokens whose routing it must know to find its rows. */
  routing(activation: Activation): Scope;
  unsupported(shape: Pick<MoeShape, 'layout'>): string | undefined;
  /** Rows of the region that it fills. */
  returnedRows(activation: Activation): 'sent' | 'replica';
  /** Together they fill the region of `returnedRegion`. */
  readonly stages: readonly Stage<ReturningContext>[];
}

/** The region (order 'chunks') that a returning half fills; that of a forward pass is saved for the backward. */
export const returnedRegion = (half: ReturningHalf, shape: MoeShape, activation: Activation, saved: boolean): Region =>
  rowsRegion(
    saved ? 'returned.forward' : 'returned',
    shape,
    rowsOf(shape, half.returnedRows(activation)),
    shape.hiddenSize,
    'chunks',
    saved ? 'saved' : 'layer',
  );
