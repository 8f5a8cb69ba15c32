/**
 * The shape of one MoE layer as its templates need it, and the sizes that follow. T counts the tokens of one
 * micro-batch of one replica (what one TP group holds together); slices of it over TP are
 * floor(T*i/tp)..floor(T*(i+1)/tp).
 */
import type { Layout } from '../layout/layout.js';
import type { ClampedSwiglu } from '../model/model.js';
import type { SelectionArgument } from './kernels/kernel-spec.js';
import type { Overlap, OverlapKind } from './overlap.js';
import type { Payload } from './payload.js';
import { expertRows, receivedRows, replicaRows, sentRows, type RowRule, type Size } from './rows.js';
import type { Activation, DType, Life, Order, Region } from './schedule.js';
import type { GradientStore } from './work.js';

export interface MoeShape {
  /** T. */
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly expertFfn: number;
  readonly experts: number;
  readonly topK: number;
  readonly layout: Layout;
  /** Type of activations and weights as they are computed with and sent. */
  readonly dtype: DType;
  /** As what rows travel to their experts in the forward pass; absent: in `dtype`. */
  readonly payload?: Payload;
  /** Drop tokens beyond ceil(capacityFactor * k * T / E) an expert and replica; absent: dropless. */
  readonly capacityFactor?: number;
  /** Experts that every token visits; absent: none. */
  readonly shared?: SharedExperts;
  /** Whether router and experts have biases; absent: none. */
  readonly biases?: boolean;
  /** Whether experts are chosen with a bias on their scores; absent: not. */
  readonly selectionBias?: boolean;
  /** Whether the backward counts every expert's picks, by which the selection bias is then moved; absent: not. */
  readonly countsPicks?: boolean;
  /** How the experts' gradients are left; absent: added in f32, as over micro-batches. */
  readonly gradients?: GradientStore;
  /** What runs beside what; absent: all that can. */
  readonly overlap?: Overlap;
  /** What dispatch and combine alone compute too, so that something runs beside them; absent: nothing. */
  readonly computes?: readonly ComputedBeside[];
  /** What the layer computes with beside its sizes; no price depends on it. Absent: `usualNumerics`. */
  readonly numerics?: LayerNumerics;
}

/**
 * Computation of a layer that its dispatch and combine alone may hold: experts' products between them; those and the
 * gradients of their weights; experts that every token visits.
 */
export type ComputedBeside = Extract<OverlapKind, 'experts' | 'weightGradients' | 'shared'>;

/** Experts that every token visits. */
export interface SharedExperts {
  /** Joint inner width, over all TP ranks. */
  readonly ffn: number;
  /** Whether each token's output is multiplied by a learned sigmoid gate (Qwen2-MoE). */
  readonly gated: boolean;
}

/** Numbers of a layer that change its results and not its cost. */
export interface LayerNumerics {
  readonly normEpsilon: number;
  /** Whether the weights of a token's picks are scaled to sum to one. */
  readonly renormalise: boolean;
  /** Of the auxiliary loss of one micro-batch. */
  readonly auxLossCoefficient: number;
  /** Tokens over all replicas times layers with experts: what the auxiliary loss pools in one micro-batch. */
  readonly pooledTokens: number;
  readonly clampedSwiglu?: ClampedSwiglu;
  readonly selection?: SelectionArgument;
}

/** For layers that stand alone and are priced: an RMS norm's usual epsilon, renormalised picks, no auxiliary loss. */
export const usualNumerics: LayerNumerics = {
  normEpsilon: 1e-6,
  renormalise: true,
  auxLossCoefficient: 0,
  pooledTokens: 1,
};

export const dtypeBytes: Readonly<Record<DType, number>> = { f32: 4, bf16: 2, f16: 2, fp8: 1, i32: 4 };

export const activationOf = (layout: Layout): Activation =>
  layout.sequenceParallel && layout.tp > 1 ? 'sequence' : 'replicated';

const kept = ({ capacityFactor }: MoeShape): number => (capacityFactor === undefined ? 1 : Math.min(1, capacityFactor));
const longestSlice = ({ tokens, layout }: MoeShape): number => Math.ceil(tokens / layout.tp);
const expectedSent = (shape: MoeShape): number => (kept(shape) * shape.topK * shape.tokens) / shape.layout.tp;
/** Picks of one token that can lie with one rank's experts. */
const picksOfRank = ({ topK, experts, layout }: MoeShape): number => Math.min(topK, experts / layout.ep);

/** Rows that so many experts take of one replica's tokens at most: no bound where none are dropped. */
const capacityOf = ({ capacityFactor, topK, tokens, experts }: MoeShape, of: number): number =>
  capacityFactor === undefined ? Infinity : of * Math.ceil((capacityFactor * topK * tokens) / experts);

/** Rows that a rank's experts take at most of all replicas that have tokens in the expert group. */
function capacityOfRank(shape: MoeShape): number {
  const { tp, etp, ep } = shape.layout;
  return Math.ceil((etp * ep) / tp) * capacityOf(shape, shape.experts / ep);
}

/** Rows by a rule of routing: what is expected of them, and the most they can be. */
export const routedRows = (rule: RowRule, expected: number, max: number): Size => ({ rule, expected, max });

/** Rows of this rank's own slice: k a token, fewer only by capacity. */
export const sentSize = (shape: MoeShape): Size =>
  routedRows(
    sentRows,
    expectedSent(shape),
    Math.min(shape.topK * longestSlice(shape), capacityOf(shape, shape.experts)),
  );

/** Rows that the slice-wise all_to_all brings. */
export const receivedSize = (shape: MoeShape): Size =>
  routedRows(
    receivedRows,
    expectedSent(shape),
    Math.min(picksOfRank(shape) * longestSlice(shape) * shape.layout.ep, capacityOfRank(shape)),
  );

/** Rows of this rank's experts. */
export function expertSize(shape: MoeShape): Size {
  const { etp, ep } = shape.layout;
  const picked = picksOfRank(shape) * longestSlice(shape) * etp * ep;
  return routedRows(expertRows, expectedSent(shape) * etp, Math.min(picked, capacityOfRank(shape)));
}

/** Rows of all slices of this rank's replica. */
export const replicaSize = (shape: MoeShape): Size =>
  routedRows(
    replicaRows,
    kept(shape) * shape.topK * shape.tokens,
    Math.min(shape.topK * shape.tokens, capacityOf(shape, shape.experts)),
  );

/** A region of token rows or of expert rows in the layer's activation type. */
export const rowsRegion = ({
  id,
  shape,
  rows,
  columns,
  order,
  life = 'layer',
}: {
  readonly id: string;
  readonly shape: Pick<MoeShape, 'dtype'>;
  readonly rows: Size;
  readonly columns: number;
  readonly order: Order;
  readonly life?: Life;
}): Region => ({ id, dtype: shape.dtype, rows, columns, order, life });
