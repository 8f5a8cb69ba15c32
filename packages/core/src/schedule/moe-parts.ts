/**
 * What the forward and the backward template of the MoE layer share: regions, scopes, and the way in and out of the
 * residual stream.
 */
import {
  combineScope,
  outgoingHalves,
  returningHalves,
  routingScope,
  type Strategy,
} from './dispatchers/strategies.js';
import { emitStages, returnedRegion } from './dispatchers/dispatcher.js';
import { activationOf, dtypeBytes, rowsRegion, type MoeShape } from './moe-shape.js';
import type { Slot } from './parameter.js';
import type { SlotShape } from './parameter-regions.js';
import { sliceRows, type Scope, type Size } from './rows.js';
import type { Region } from './schedule.js';
import { read, TemplateBuilder, write } from './template-builder.js';
import type { FeedForward, Work } from './work.js';

/** Rows of the residual stream on one rank. */
export const streamRows = (tokens: number, shape: Pick<MoeShape, 'layout'>): Size =>
  activationOf(shape.layout) === 'sequence' ? sliceRows(tokens, shape.layout.tp) : tokens;

export const streamRegion = (id: 'stream' | 'gradient', shape: MoeShape): Region =>
  rowsRegion({
    id,
    shape,
    rows: streamRows(shape.tokens, shape),
    columns: shape.hiddenSize,
    order: 'rows',
    life: 'microBatch',
  });

/**
 * Counts of picks and sums of probabilities per expert over all layers of a micro-batch, [1, 2E] in f32: what Hugging
 * Face's auxiliary loss and load statistics need. The head reduces it over the dense group.
 */
export const statisticsRegion = (experts: number): Region => ({
  id: 'router.statistics',
  dtype: 'f32',
  rows: 1,
  columns: 2 * experts,
  order: 'rows',
  life: 'microBatch',
});

/**
 * Regions that the router leaves for the backward: ids [k], weights [k], probabilities [E], kept picks are ids >= 0.
 */
export function routeRegions(shape: MoeShape, tokens: Size): Region[] {
  const { topK, experts } = shape;
  const region = (id: string, dtype: 'i32' | 'f32', columns: number): Region => ({
    id,
    dtype,
    rows: tokens,
    columns,
    order: 'rows',
    life: 'saved',
  });
  return [
    region('route.ids', 'i32', topK),
    region('route.weights', 'f32', topK),
    region('route.probabilities', 'f32', experts),
  ];
}

export interface Parts {
  readonly builder: TemplateBuilder;
  readonly shape: MoeShape;
  readonly strategy: Strategy;
  readonly activation: 'replicated' | 'sequence';
  readonly routing: Scope;
  readonly combined: Scope;
  readonly elementBytes: number;
  scopeRows(scope: Scope): Size;
}

export function parts(shape: MoeShape, strategy: Strategy): Parts {
  const activation = activationOf(shape.layout);
  return {
    builder: new TemplateBuilder(),
    shape,
    strategy,
    activation,
    routing: routingScope(strategy, shape),
    combined: shape.layout.tp === 1 ? 'slice' : combineScope(strategy, activation),
    elementBytes: dtypeBytes[shape.dtype],
    scopeRows: (scope) => (scope === 'slice' ? sliceRows(shape.tokens, shape.layout.tp) : shape.tokens),
  };
}

/** The experts of this rank as a feed-forward each. */
export const expertFeedForward = ({ shape, elementBytes }: Parts): FeedForward & { readonly groups: number } => ({
  hiddenSize: shape.hiddenSize,
  ffn: shape.expertFfn / shape.layout.etp,
  groups: shape.experts / shape.layout.ep,
  elementBytes,
});

/** FLOPs of one pass over a row, bytes that it moves beside the weights, and the weights themselves. */
export function expertCosts(p: Parts): Pick<Work, 'flopsPerRow' | 'bytesPerRow' | 'fixedBytes'> {
  const { hiddenSize, ffn, groups, elementBytes } = expertFeedForward(p);
  return {
    flopsPerRow: 6 * hiddenSize * ffn,
    bytesPerRow: (2 * hiddenSize + 5 * ffn) * elementBytes,
    fixedBytes: 3 * hiddenSize * ffn * groups * elementBytes,
  };
}

/** The router's weights. */
export const routerShape = ({ experts, hiddenSize }: MoeShape): SlotShape => ({
  slot: 'router',
  rows: experts,
  columns: hiddenSize,
});

/** Gate and up matrices of the local experts, gate rows, then up rows, expert after expert. */
export const gateUpShape = ({ experts, hiddenSize, expertFfn, layout }: MoeShape): SlotShape => ({
  slot: 'experts.gateUp',
  rows: (2 * experts * expertFfn) / (layout.ep * layout.etp),
  columns: hiddenSize,
});

/** Down matrices of the local experts. */
export const downShape = ({ experts, hiddenSize, expertFfn, layout }: MoeShape): SlotShape => ({
  slot: 'experts.down',
  rows: (experts * hiddenSize) / layout.ep,
  columns: expertFfn / layout.etp,
});

/** The bias by which experts are chosen. */
export const selectionBiasShape = ({ experts }: MoeShape): SlotShape => ({
  slot: 'selectionBias',
  rows: 1,
  columns: experts,
});

/** Biases of router and local experts, where the model has them. */
export function biasShapes({ biases, experts, hiddenSize, expertFfn, layout }: MoeShape) {
  if (biases !== true) return {};
  const row = (slot: Slot, columns: number): SlotShape => ({ slot, rows: 1, columns });
  return {
    router: row('routerBias', experts),
    gateUp: row('experts.gateUpBias', (2 * experts * expertFfn) / (layout.ep * layout.etp)),
    down: row('experts.downBias', (experts * hiddenSize) / layout.ep),
  };
}

/** What the kernels that sum returned rows are told of them. */
export function combineArguments(p: Parts, chunks: number) {
  const { scope, order } = returningHalves.get(p.strategy.combine).returned(p.activation);
  return { scope: p.combined, returnedScope: p.shape.layout.tp === 1 ? 'slice' : scope, order, chunks } as const;
}

/** All T rows of a token region on every rank: gathered over TP when the stream is sliced. */
export function gatheredTokens(p: Parts, id: string, source: string): string {
  const { builder, shape } = p;
  if (p.activation === 'replicated') return source;
  const all = builder.region(
    rowsRegion({ id: `${source}.all`, shape, rows: shape.tokens, columns: shape.hiddenSize, order: 'rows' }),
  );
  builder.collective({
    id,
    lane: 'intra',
    collective: { name: 'all_gather', group: 'tp', split: 'tokens' },
    operands: {
      from: read(source),
      to: write(all),
    },
  });
  return all;
}

/** Emits all chunks of the strategy's outgoing half: rows of `source` tokens end up in canonical region `into`. */
export function emitOutgoing({
  p,
  of,
  source,
  into,
  weighted,
}: {
  readonly p: Parts;
  readonly of: number;
  readonly source: string;
  readonly into: string;
  readonly weighted: boolean;
}): void {
  const { builder, shape, activation } = p;
  emitStages(
    of,
    outgoingHalves
      .get(p.strategy.dispatch)
      .stages.map(
        (stage) => (chunk: number) => stage({ builder, shape, activation, chunk, of, source, weighted, into }),
      ),
  );
}

/**
 * Emits all chunks of the returning half, `compute` of a chunk right before its first stage. Returns the region of
 * returned rows.
 */
export function emitReturning({
  p,
  of,
  source,
  saved,
  compute = () => undefined,
}: {
  readonly p: Parts;
  readonly of: number;
  readonly source: string;
  readonly saved: boolean;
  readonly compute?: (chunk: number) => void;
}): string {
  const { builder, shape, activation } = p;
  const half = returningHalves.get(p.strategy.combine);
  emitStages(
    of,
    half.stages.map((stage, index) => (chunk: number) => {
      if (index === 0) compute(chunk);
      stage({ builder, shape, activation, chunk, of, source, saved });
    }),
  );
  return returnedRegion(half, shape, activation, saved).id;
}

/**
 * All rows that the stream wants of a combined region: gathered over TP when only the slice was combined but
 * activations are replicated.
 */
export function gatheredCombined(p: Parts, combined: string, gatherId: string): string {
  const { builder, shape } = p;
  if (p.combined === 'replica' || p.activation === 'sequence' || shape.layout.tp === 1) return combined;
  const full = builder.region(
    rowsRegion({ id: `${combined}.all`, shape, rows: shape.tokens, columns: shape.hiddenSize, order: 'rows' }),
  );
  builder.collective({
    id: gatherId,
    lane: 'intra',
    collective: { name: 'all_gather', group: 'tp', split: 'tokens' },
    operands: { from: read(combined), to: write(full) },
  });
  return full;
}
