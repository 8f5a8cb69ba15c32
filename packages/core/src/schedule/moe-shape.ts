/**
 * The shape of one MoE layer as its templates need it, and the sizes that follow. T counts the tokens of one micro-batch of one replica
 * (what one TP group holds together); slices of it over TP are floor(T*i/tp)..floor(T*(i+1)/tp).
 */
import type { Layout } from '../layout/layout.js';
import type { Activation, DType, Order, Region, RowSymbol, Size, Work } from './schedule.js';

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
  /** Drop tokens beyond ceil(capacityFactor * k * T / E) an expert and replica; absent: dropless. */
  readonly capacityFactor?: number;
}

export const dtypeBytes: Readonly<Record<DType, number>> = { f32: 4, bf16: 2, f16: 2, fp8: 1, i32: 4 };

export const activationOf = (layout: Layout): Activation =>
  layout.sequenceParallel && layout.tp > 1 ? 'sequence' : 'replicated';

/** First token of slice i of n over T tokens. */
export const sliceStart = (tokens: number, index: number, of: number): number => Math.floor((tokens * index) / of);

/** A token slice of a replica, as a size: `expected` T/tp, `max` the longest. */
export const sliceRows = (tokens: number, tp: number): Size =>
  tp === 1 ? tokens : { symbol: 'slice', expected: tokens / tp, max: Math.ceil(tokens / tp) };

/** Rows per token that a rank sends at most: k, fewer only by capacity. */
export function rowsOf(shape: MoeShape, symbol: RowSymbol): Size {
  const { tokens, topK, layout, experts, capacityFactor } = shape;
  const slices = layout.etp * layout.ep;
  const kept = capacityFactor === undefined ? 1 : Math.min(1, capacityFactor);
  const slice = tokens / layout.tp;
  const longest = Math.ceil(slice);
  const mine = Math.min(topK, experts / layout.ep);
  switch (symbol) {
    case 'slice':
      return sliceRows(tokens, layout.tp);
    case 'sent':
      return { symbol, expected: kept * topK * slice, max: topK * longest };
    case 'received':
      return { symbol, expected: kept * topK * slice, max: mine * longest * layout.ep };
    case 'expert':
      return { symbol, expected: kept * topK * slice * layout.etp, max: mine * longest * slices };
    case 'replica':
      return { symbol, expected: kept * topK * tokens, max: topK * tokens };
  }
}

/** A region of token rows or of expert rows in the layer's activation type. */
export const rowsRegion = (
  id: string,
  shape: Pick<MoeShape, 'dtype'>,
  rows: Size,
  columns: number,
  order: Order,
  life: Region['life'] = 'layer',
): Region => ({ id, dtype: shape.dtype, rows, columns, order, life });

export const work = (
  kind: Work['kind'],
  rows: Size,
  perRow: { readonly flops?: number; readonly bytes: number },
  options: { readonly chunk?: number; readonly of?: number; readonly fixedBytes?: number } = {},
): Work => ({
  kind,
  rows,
  chunk: options.chunk ?? 0,
  of: options.of ?? 1,
  flopsPerRow: perRow.flops ?? 0,
  bytesPerRow: perRow.bytes,
  fixedBytes: options.fixedBytes ?? 0,
});
