/**
 * The MoE layer forward, as a template: norm, router, dispatch, experts, combine, residual. Chunks of the dispatch, the
 * expert GEMMs and the combine overlap: all outgoing chunks are issued first, then for each chunk its experts and its
 * way back, so that on the inter lane no outgoing chunk waits behind a returning one.
 *
 * Regions shared between templates: `stream` (the residual stream), `gradient` (of it), `router.statistics`, all of the
 * micro-batch.
 */
import { returnsRows } from './dispatchers/dispatcher.js';
import {
  exchangesPicks,
  returningHalves,
  sumsOnTheWay,
  weighsAtExperts,
  type Strategy,
} from './dispatchers/strategies.js';
import { expertSize, rowsRegion, usualNumerics, type MoeShape } from './moe-shape.js';
import {
  biasShapes,
  combineArguments,
  downShape,
  emitOutgoing,
  emitReturning,
  gatheredCombined,
  gateUpShape,
  expertCosts,
  expertFeedForward,
  gatheredTokens,
  gatherPicks,
  parts,
  routeRegions,
  routerShape,
  selectionBiasShape,
  statisticsRegion,
  streamRegion,
  streamRows,
  type Parts,
} from './moe-parts.js';
import { addShared, emitShared } from './moe-shared.js';
import { withOverlap } from './overlap.js';
import { normShape, weight } from './parameter-regions.js';
import { sliceRows } from './rows.js';
import type { Template } from './schedule.js';
import { add, own, read, write } from './template-builder.js';
import { feedForwardParts, matrixWork, memoryWork } from './work.js';

function emitRouting(p: Parts, normed: string): void {
  const { builder, shape } = p;
  const { experts, hiddenSize, layout, numerics = usualNumerics } = shape;
  const rows = p.scopeRows(p.routing);
  const biases = biasShapes(shape);
  for (const region of routeRegions(shape, rows)) builder.region(region);
  builder.region(statisticsRegion(experts));
  builder.kernel({
    id: 'router',
    kernel: 'moe.router',
    operands: {
      normed: p.routing === 'slice' ? own(read(normed)) : read(normed),
      weight: weight(builder, shape.dtype, routerShape(shape)),
      bias: biases.router && weight(builder, shape.dtype, biases.router),
      selectionBias: shape.selectionBias === true ? weight(builder, 'f32', selectionBiasShape(shape)) : undefined,
      ids: write('route.ids'),
      weights: write('route.weights'),
      probabilities: write('route.probabilities'),
      statistics: add('router.statistics'),
    },
    arguments: {
      scope: layout.tp === 1 ? 'slice' : p.routing,
      renormalise: numerics.renormalise,
      selection: numerics.selection,
    },
    work: matrixWork({
      rows,
      flopsPerRow: 2 * hiddenSize * experts,
      bytesPerRow: hiddenSize * p.elementBytes + 12 * experts,
      parts: [
        { kind: 'product', columns: experts, depth: hiddenSize },
        { kind: 'loss', bytesPerRow: 12 * experts },
      ],
    }),
  });
  if (shape.capacityFactor !== undefined) emitCapacity(p, shape.capacityFactor);
  emitCounts(p);
}

/**
 * Drops what exceeds the capacity. Which picks are dropped depends on all T tokens, so the slices' picks are gathered
 * first: 8k bytes a token.
 */
function emitCapacity(p: Parts, factor: number): void {
  const { builder, shape } = p;
  const { topK, layout, tokens, experts, numerics = usualNumerics } = shape;
  const { renormalise } = numerics;
  const rows = p.scopeRows(p.routing);
  const bytes = 16 * topK;
  if (p.routing === 'replica' || layout.tp === 1) {
    builder.kernel({
      id: 'capacity',
      kernel: 'moe.capacity',
      operands: { probabilities: read('route.probabilities'), ids: add('route.ids'), weights: add('route.weights') },
      arguments: { factor, renormalise },
      work: memoryWork('copy', bytes, { rows }),
    });
    return;
  }
  const region = { dtype: 'f32', columns: 2 * topK, order: 'rows', life: 'layer' } as const;
  builder.region({ ...region, id: 'picks', rows: sliceRows(tokens, layout.tp) });
  builder.region({ ...region, id: 'picks.all', rows: tokens });
  builder.kernel({
    id: 'picks',
    kernel: 'moe.picks',
    operands: { ids: read('route.ids'), probabilities: read('route.probabilities'), picks: write('picks') },
    work: memoryWork('copy', bytes, { rows }),
  });
  builder.collective({
    id: 'picks.gather',
    lane: 'intra',
    collective: { name: 'all_gather', group: 'tp', split: 'tokens' },
    operands: { from: read('picks'), to: write('picks.all') },
  });
  builder.kernel({
    id: 'capacity',
    kernel: 'moe.capacity.gathered',
    operands: { picks: read('picks.all'), ids: add('route.ids'), weights: add('route.weights') },
    arguments: { factor, experts, renormalise },
    work: memoryWork('copy', bytes, { rows: tokens }),
  });
}

/**
 * Counts the kept picks of the own slice and exchanges the counts over the expert group; or the picks themselves, and
 * their weights.
 */
function emitCounts(p: Parts): void {
  const { builder, shape } = p;
  if (exchangesPicks(p.strategy)) {
    gatherPicks(p, 'ids');
    builder.bind('bind', { ids: read('route.ids'), picks: read('route.ids.group') });
    // Weights are needed where picks are summed, long after.
    if (weighsAtExperts(p.strategy)) gatherPicks(p, 'weights');
    return;
  }
  const { experts, layout, topK } = shape;
  const sources = layout.etp * layout.ep;
  const region = { dtype: 'i32', columns: experts, order: 'rows', life: 'layer' } as const;
  const counts = builder.region({ ...region, id: 'counts', rows: sources });
  const mine = sources > 1 ? builder.region({ ...region, id: 'counts.own', rows: 1 }) : counts;
  builder.kernel({
    id: 'count',
    kernel: 'moe.count',
    operands: { ids: own(read('route.ids')), counts: write(mine) },
    work: memoryWork('copy', 4 * topK, { rows: p.scopeRows(p.routing) }),
  });
  if (sources > 1)
    builder.collective({
      id: 'exchange',
      lane: 'inter',
      collective: { name: 'all_gather', group: 'expert', split: 'equal' },
      operands: { from: read(mine), to: write(counts) },
    });
  builder.bind('bind', { counts: read(counts), ids: read('route.ids') });
}

function emitNorm({ builder, shape, elementBytes }: Parts): void {
  const { hiddenSize, numerics = usualNumerics } = shape;
  const rows = streamRows(shape.tokens, shape);
  builder.region(streamRegion('stream', shape));
  builder.region(rowsRegion({ id: 'moe.input', shape, rows, columns: hiddenSize, order: 'rows', life: 'saved' }));
  builder.region(rowsRegion({ id: 'moe.normed', shape, rows, columns: hiddenSize, order: 'rows', life: 'saved' }));
  builder.kernel({
    id: 'norm',
    kernel: 'norm',
    operands: {
      stream: read('stream'),
      weight: weight(builder, shape.dtype, normShape('feedForward.norm', hiddenSize)),
      kept: write('moe.input'),
      normed: write('moe.normed'),
    },
    arguments: { epsilon: numerics.normEpsilon },
    work: memoryWork('norm', 3 * hiddenSize * elementBytes, { rows }),
  });
}

/** Regions of the experts between dispatch and combine. */
export function declareExpertRegions({ builder, shape, strategy }: Parts): void {
  const { hiddenSize, layout } = shape;
  const expert = expertSize(shape);
  const ffn = shape.expertFfn / layout.etp;
  builder.region(
    rowsRegion({ id: 'expert.input', shape, rows: expert, columns: hiddenSize, order: 'blocks', life: 'saved' }),
  );
  builder.region(
    rowsRegion({ id: 'expert.gateUp', shape, rows: expert, columns: 2 * ffn, order: 'blocks', life: 'saved' }),
  );
  builder.region(rowsRegion({ id: 'expert.activated', shape, rows: expert, columns: ffn, order: 'blocks' }));
  const life = sumsOnTheWay(strategy) ? 'saved' : 'layer';
  builder.region(rowsRegion({ id: 'expert.output', shape, rows: expert, columns: hiddenSize, order: 'blocks', life }));
}

/** A chunk's experts. */
export function emitExperts(p: Parts, { chunk, of }: { readonly chunk: number; readonly of: number }): void {
  const { builder, shape } = p;
  const rows = expertSize(shape);
  const biases = biasShapes(shape);
  builder.kernel({
    id: { task: 'experts', chunk, of },
    kernel: 'moe.experts',
    operands: {
      input: read('expert.input', chunk, of),
      gateUp: weight(builder, shape.dtype, gateUpShape(shape)),
      down: weight(builder, shape.dtype, downShape(shape)),
      gateUpBias: biases.gateUp && weight(builder, shape.dtype, biases.gateUp),
      downBias: biases.down && weight(builder, shape.dtype, biases.down),
      gateUpRows: write('expert.gateUp', chunk, of),
      activated: write('expert.activated', chunk, of),
      output: write('expert.output', chunk, of),
    },
    arguments: { clamp: (shape.numerics ?? usualNumerics).clampedSwiglu },
    work: matrixWork({ ...expertCosts(p), rows, chunk, of, parts: feedForwardParts(expertFeedForward(p)) }),
  });
}

/** Forward of one MoE layer: adds the layer's output to `stream`. */
export function moeForward(shape: MoeShape, strategy: Strategy): Template {
  const p = parts(shape, strategy);
  const { builder, activation, elementBytes } = p;
  const of = strategy.chunks.forward;
  emitNorm(p);
  // Issued before the host waits for counts, so that it runs beside all that follows.
  const shared = emitShared(p);
  const source = p.routing === 'replica' ? gatheredTokens(p, 'gather.tokens', 'moe.normed') : 'moe.normed';
  emitRouting(p, source);
  declareExpertRegions(p);
  emitOutgoing({ p, of, source, into: 'expert.input', weighted: false, payload: shape.payload });
  const returned = emitReturning({
    p,
    of,
    source: 'expert.output',
    saved: true,
    compute: (chunk) => emitExperts(p, { chunk, of }),
  });
  const combined = combineReturned(p, of, returned);
  const output = gatheredCombined(p, combined, 'gather.output');
  builder.kernel({
    id: 'residual',
    kernel: 'residual.add',
    operands: { from: read(output), to: add('stream') },
    work: memoryWork('add', 3 * shape.hiddenSize * elementBytes, { rows: streamRows(shape.tokens, shape) }),
  });
  addShared(p, shared, 'stream');
  return withOverlap(builder.buildPass({ block: 'moe', pass: 'forward' }, activation), shape.overlap);
}

/** Sums the returned rows over their picks where they are not summed yet. Returns the region of the result. */
function combineReturned(p: Parts, chunks: number, returned: string): string {
  const { builder, shape, elementBytes } = p;
  const { topK, hiddenSize } = shape;
  const half = returningHalves.get(p.strategy.combine);
  if (!returnsRows(half)) return returned;
  const rows = p.scopeRows(p.combined);
  const combined = builder.region(rowsRegion({ id: 'combined', shape, rows, columns: hiddenSize, order: 'rows' }));
  builder.kernel({
    id: 'combine',
    kernel: 'moe.combine',
    operands: {
      returned: read(returned),
      weights: p.combined === 'slice' ? own(read('route.weights')) : read('route.weights'),
      combined: write(combined),
    },
    arguments: { ...combineArguments(p, half, chunks), accumulate: false },
    work: memoryWork('gather', (topK + 1) * hiddenSize * elementBytes, { rows }),
  });
  return combined;
}
