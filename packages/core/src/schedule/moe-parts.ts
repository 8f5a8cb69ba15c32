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
import { emitStages, returnedRegion, returnsRows, summedRegion, type RowsHalf } from './dispatchers/dispatcher.js';
import { canonicalRows, groupTokenRows, tokenGather } from './dispatchers/row-layout.js';
import { activationOf, dtypeBytes, expertSize, rowsRegion, type MoeShape } from './moe-shape.js';
import { overlaps } from './overlap.js';
import type { Slot } from './parameter.js';
import type { Payload } from './payload.js';
import type { SlotShape } from './parameter-regions.js';
import type { Part } from '../routing/group-routing.js';
import { sliceRows, type Scope, type Size } from './rows.js';
import type { Region } from './schedule.js';
import { add, own, read, TemplateBuilder, write } from './template-builder.js';
import { memoryWork, type FeedForward, type Work } from './work.js';

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
    kept: true,
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
  gradients: shape.gradients,
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
export function combineArguments(p: Parts, half: RowsHalf, chunks: number) {
  const { scope, order } = half.returned(p.activation);
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
  payload,
}: {
  readonly p: Parts;
  readonly of: number;
  readonly source: string;
  readonly into: string;
  readonly weighted: boolean;
  readonly payload?: Payload | undefined;
}): void {
  const { builder, shape, activation } = p;
  const way = payload === undefined ? {} : { payload };
  emitStages(
    builder,
    of,
    outgoingHalves
      .get(p.strategy.dispatch)
      .stages.map(
        (stage) => (chunk: number) => stage({ builder, shape, activation, chunk, of, source, weighted, into, ...way }),
      ),
    overlaps(shape.overlap, 'chunks'),
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
  const beside = overlaps(shape.overlap, 'experts');
  const computeChunk = builder.eachChunk(compute);
  if (!beside) for (let chunk = 0; chunk < of; chunk++) computeChunk(chunk);
  emitStages(
    builder,
    of,
    half.stages.map((stage, index) => (chunk: number) => {
      if (index === 0 && beside) compute(chunk);
      stage({ builder, shape, activation, chunk, of, source, saved });
    }),
    overlaps(shape.overlap, 'chunks'),
  );
  return returnsRows(half) ? returnedRegion(half, shape, activation, saved).id : summedRegion(shape).id;
}

/** Tokens of the expert group, as a size. */
const groupTokens = ({ shape }: Parts): Size => {
  const { tokens, layout } = shape;
  const sources = layout.etp * layout.ep;
  const rule = groupTokenRows(shape);
  return { rule, expected: (tokens / layout.tp) * sources, max: Math.ceil(tokens / layout.tp) * sources };
};

/**
 * What the ranks of an expert group tell each other of every token: ids of its picks (~id where dropped), and their
 * weights.
 */
export const groupRegion = (p: Parts, what: 'ids' | 'weights'): Region => ({
  id: `route.${what}.group`,
  dtype: what === 'ids' ? 'i32' : 'f32',
  rows: groupTokens(p),
  columns: p.shape.topK,
  order: 'rows',
  ...(what === 'ids' ? { life: 'layer' } : { life: 'saved', kept: true }),
});

/** Gathers ids or weights of all tokens over the expert group: 4k bytes a token. */
export function gatherPicks(p: Parts, what: 'ids' | 'weights'): void {
  p.builder.collective({
    id: `gather.${what}`,
    lane: 'inter',
    collective: { name: 'all_gather', group: 'expert', counts: tokenGather(p.shape) },
    operands: { from: own(read(`route.${what}`)), to: write(p.builder.region(groupRegion(p, what))) },
  });
}

/** Rows of this rank's experts, by themselves. */
const expertPairs = {
  fine: { layout: canonicalRows, whole: true },
  coarse: { layout: canonicalRows, whole: true },
} as const;

/**
 * Weighs a chunk of the gradients of expert rows, which have arrived unweighted. With `output`, the experts' outputs of
 * the forward pass, the gradients of the weights are left in region `expert.weightGradient`.
 */
export function weighGradients(p: Parts, gradient: string, { chunk, of }: Part, output?: string): void {
  const { builder, shape, elementBytes } = p;
  builder.kernel({
    id: { task: 'weigh', chunk, of },
    kernel: 'rows.weigh',
    operands: {
      weights: read(builder.region(groupRegion(p, 'weights'))),
      gradient: add(gradient, chunk, of),
      output: output === undefined ? undefined : read(output, chunk, of),
      weightGradient: output === undefined ? undefined : write(builder.region(weightGradients(p)), chunk, of),
    },
    arguments: { pairs: expertPairs },
    work: memoryWork('gather', (output === undefined ? 2 : 3) * shape.hiddenSize * elementBytes, {
      rows: expertSize(shape),
      chunk,
      of,
    }),
  });
}

/** Gradients of the weights of this rank's expert rows, partial sums over etp. */
export const weightGradients = ({ shape }: Parts): Region => ({
  id: 'expert.weightGradient',
  dtype: 'f32',
  rows: expertSize(shape),
  columns: 1,
  order: 'blocks',
  life: 'layer',
});

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
