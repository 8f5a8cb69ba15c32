/**
 * The MoE layer backward, as a template. See `moe-forward.ts` for the order of chunks and `dispatchers/dispatcher.ts`
 * for what the halves mean here.
 */
import {
  outgoingHalves,
  returningHalves,
  sumsOnTheWay,
  weighsAtExperts,
  type Strategy,
} from './dispatchers/strategies.js';
import { returnedRegion, returnsRows } from './dispatchers/dispatcher.js';
import { emitPickGradients } from './pick-gradients.js';
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
  parts,
  routeRegions,
  routerShape,
  selectionBiasShape,
  statisticsRegion,
  streamRegion,
  streamRows,
  weighGradients,
  type Parts,
} from './moe-parts.js';
import { addShared, emitSharedBackward } from './moe-shared.js';
import { overlaps, withOverlap } from './overlap.js';
import { gradient, normShape, weight } from './parameter-regions.js';
import type { Template } from './schedule.js';
import { add, own, read, write } from './template-builder.js';
import { inputGradientParts, matrixWork, memoryWork, weightGradientParts } from './work.js';

/** Regions of the experts' backward between dispatch and combine, and what their forward kept. */
export function declareExpertGradients({ builder, shape, strategy }: Parts): void {
  const { hiddenSize, layout } = shape;
  const expert = expertSize(shape);
  const ffn = shape.expertFfn / layout.etp;
  builder.region(
    rowsRegion({ id: 'expert.input', shape, rows: expert, columns: hiddenSize, order: 'blocks', life: 'saved' }),
  );
  builder.region(
    rowsRegion({ id: 'expert.gateUp', shape, rows: expert, columns: 2 * ffn, order: 'blocks', life: 'saved' }),
  );
  if (sumsOnTheWay(strategy))
    builder.region(
      rowsRegion({ id: 'expert.output', shape, rows: expert, columns: hiddenSize, order: 'blocks', life: 'saved' }),
    );
  builder.region(
    rowsRegion({ id: 'expert.outputGradient', shape, rows: expert, columns: hiddenSize, order: 'blocks' }),
  );
  builder.region(rowsRegion({ id: 'expert.activated', shape, rows: expert, columns: ffn, order: 'blocks' }));
  builder.region(rowsRegion({ id: 'expert.gateUpGradient', shape, rows: expert, columns: 2 * ffn, order: 'blocks' }));
  builder.region(rowsRegion({ id: 'expert.inputGradient', shape, rows: expert, columns: hiddenSize, order: 'blocks' }));
}

function declareRegions(p: Parts): void {
  const { builder, shape } = p;
  const { hiddenSize, topK, experts } = shape;
  const rows = streamRows(shape.tokens, shape);
  const combinedRows = p.scopeRows(p.combined);
  builder.region(streamRegion('gradient', shape));
  builder.region(rowsRegion({ id: 'moe.input', shape, rows, columns: hiddenSize, order: 'rows', life: 'saved' }));
  builder.region(rowsRegion({ id: 'moe.normed', shape, rows, columns: hiddenSize, order: 'rows', life: 'saved' }));
  for (const region of routeRegions(shape, p.scopeRows(p.routing))) builder.region(region);
  builder.region(statisticsRegion(experts));
  declareExpertGradients(p);
  builder.region(rowsRegion({ id: 'normed.gradient', shape, rows: combinedRows, columns: hiddenSize, order: 'rows' }));
  builder.region({
    id: 'route.gradient',
    dtype: 'f32',
    rows: combinedRows,
    columns: topK,
    order: 'rows',
    life: 'layer',
  });
}

/** Gradients of the picks' weights from the rows that the forward pass returned. */
function emitWeights(p: Parts): void {
  const { builder, shape, elementBytes } = p;
  const half = returningHalves.get(p.strategy.combine);
  if (!returnsRows(half)) return;
  const savedReturned = builder.region(returnedRegion(half, shape, p.activation, true));
  builder.kernel({
    id: 'weights',
    kernel: 'moe.combine.weights',
    operands: {
      returned: read(savedReturned),
      gradient: p.combined === 'slice' ? own(read('gradient')) : read('gradient'),
      routeGradient: write('route.gradient'),
    },
    arguments: combineArguments(p, half, p.strategy.chunks.forward),
    work: memoryWork('gather', (shape.topK + 1) * shape.hiddenSize * elementBytes, {
      rows: p.scopeRows(p.combined),
    }),
  });
}

/** Through the router, from the gradients of the picks' weights. */
function emitRouter(p: Parts): void {
  const { builder, shape, elementBytes } = p;
  const { hiddenSize, experts, layout, numerics = usualNumerics } = shape;
  const scoped = (region: string) => (p.combined === 'slice' ? own(read(region)) : read(region));
  const rows = p.scopeRows(p.combined);
  const { router: bias } = biasShapes(shape);
  builder.kernel({
    id: 'router',
    kernel: 'moe.router.backward',
    operands: {
      routeGradient: read('route.gradient'),
      ids: scoped('route.ids'),
      probabilities: scoped('route.probabilities'),
      statistics: read('router.statistics'),
      normed: own(read('moe.normed')),
      weight: weight(builder, shape.dtype, routerShape(shape)),
      normedGradient: write('normed.gradient'),
      weightGradient: gradient(builder, routerShape(shape)),
      biasGradient: bias && gradient(builder, bias),
      picks: shape.countsPicks === true ? gradient(builder, selectionBiasShape(shape)) : undefined,
    },
    arguments: {
      scope: p.combined,
      renormalise: numerics.renormalise,
      coefficient: numerics.auxLossCoefficient,
      pooledTokens: numerics.pooledTokens,
      selection: numerics.selection,
    },
    work: matrixWork({
      rows,
      // The input's gradient of every row; the weight's only of the own slice's, though its shape is told as if of
      // every row's.
      flopsPerRow: 2 * hiddenSize * experts * (1 + (p.combined === 'replica' ? 1 / layout.tp : 1)),
      bytesPerRow: 3 * hiddenSize * elementBytes + 12 * experts,
      parts: [
        { kind: 'loss', bytesPerRow: 12 * experts },
        { kind: 'product', columns: hiddenSize, depth: experts },
        { kind: 'product', columns: experts, depth: hiddenSize, gradient: 'added' },
      ],
    }),
  });
}

/**
 * Backward of one MoE layer: `gradient` holds the gradient of the layer's output and receives that of its input;
 * gradients of experts, router and norm are added to. The chunk count is its own.
 */
export function moeBackward(shape: MoeShape, strategy: Strategy): Template {
  const p = parts(shape, strategy);
  const { builder, activation, elementBytes } = p;
  const { hiddenSize, layout, numerics = usualNumerics } = shape;
  const of = strategy.chunks.backward;
  declareRegions(p);
  const outgoing = outgoingHalves.get(strategy.dispatch);
  let gathered: string | undefined;
  const ofAllTokens = (): string => (gathered ??= gatheredTokens(p, 'gather.gradient', 'gradient'));
  const source = outgoing.scope === 'replica' && layout.tp > 1 ? ofAllTokens() : 'gradient';
  const weighs = weighsAtExperts(strategy);
  const sums = sumsOnTheWay(strategy);
  const out = (): void => emitOutgoing({ p, of, source, into: 'expert.outputGradient', weighted: !weighs });
  const beside = overlaps(shape.overlap, 'shared');
  if (beside) out();
  const shared = emitSharedBackward(p, ofAllTokens);
  if (!beside) out();
  if (!sums) {
    emitWeights(p);
    emitRouter(p);
  }
  const returned = emitReturning({
    p,
    of,
    source: 'expert.inputGradient',
    saved: false,
    compute: (chunk) => {
      if (weighs) weighGradients(p, 'expert.outputGradient', { chunk, of }, sums ? 'expert.output' : undefined);
      emitExpertsBackward(p, { chunk, of });
    },
  });
  const late = overlaps(shape.overlap, 'weightGradients');
  if (sums && !late) emitPickGradients(p);
  // Weight gradients need no communication: they fill the compute lane while the last chunks travel.
  emitExpertWeights(p);
  if (sums && late) emitPickGradients(p);
  if (sums) emitRouter(p);
  sumReturned(p, of, returned);
  const norm = normShape('feedForward.norm', hiddenSize);
  const normedGradient = gatheredCombined(p, 'normed.gradient', 'gather.inputGradient');
  addShared(p, shared, normedGradient);
  builder.kernel({
    id: 'norm',
    kernel: 'norm.backward',
    operands: {
      normedGradient: read(normedGradient),
      kept: read('moe.input'),
      weight: weight(builder, shape.dtype, norm),
      gradient: add('gradient'),
      weightGradient: gradient(builder, norm),
    },
    arguments: { epsilon: numerics.normEpsilon, accumulate: true },
    work: memoryWork('norm', 5 * hiddenSize * elementBytes, { rows: streamRows(shape.tokens, shape) }),
  });
  return withOverlap(builder.buildPass({ block: 'moe', pass: 'backward' }, activation), shape.overlap);
}

/** A chunk's gradient of the experts' inputs, and of what lies between. */
export function emitExpertsBackward(p: Parts, { chunk, of }: { readonly chunk: number; readonly of: number }): void {
  const { builder, shape } = p;
  const rows = expertSize(shape);
  builder.kernel({
    id: { task: 'experts', chunk, of },
    kernel: 'moe.experts.inputGradient',
    operands: {
      outputGradient: read('expert.outputGradient', chunk, of),
      gateUpRows: read('expert.gateUp', chunk, of),
      gateUp: weight(builder, shape.dtype, gateUpShape(shape)),
      down: weight(builder, shape.dtype, downShape(shape)),
      activated: write('expert.activated', chunk, of),
      gateUpGradient: write('expert.gateUpGradient', chunk, of),
      inputGradient: write('expert.inputGradient', chunk, of),
    },
    arguments: { clamp: (shape.numerics ?? usualNumerics).clampedSwiglu },
    work: matrixWork({ ...expertCosts(p), rows, chunk, of, parts: inputGradientParts(expertFeedForward(p)) }),
  });
}

/** Gradients of the experts' weights, of all rows. */
export function emitExpertWeights(p: Parts): void {
  const { builder, shape } = p;
  const costs = expertCosts(p);
  const biases = biasShapes(shape);
  builder.kernel({
    id: 'experts.weights',
    kernel: 'moe.experts.weightGradient',
    operands: {
      input: read('expert.input'),
      activated: read('expert.activated'),
      gateUpGradient: read('expert.gateUpGradient'),
      outputGradient: read('expert.outputGradient'),
      gateUpWeightGradient: gradient(builder, gateUpShape(shape)),
      downWeightGradient: gradient(builder, downShape(shape)),
      gateUpBiasGradient: biases.gateUp && gradient(builder, biases.gateUp),
      downBiasGradient: biases.down && gradient(builder, biases.down),
    },
    work: matrixWork({
      ...costs,
      rows: expertSize(shape),
      fixedBytes: 2 * costs.fixedBytes,
      parts: weightGradientParts(expertFeedForward(p)),
    }),
  });
}

/** Adds the gradients of the tokens' rows to what came through the router. */
function sumReturned(p: Parts, chunks: number, returned: string): void {
  const { builder, shape, elementBytes } = p;
  const { topK, hiddenSize } = shape;
  const half = returningHalves.get(p.strategy.combine);
  const rows = p.scopeRows(p.combined);
  if (!returnsRows(half)) {
    builder.kernel({
      id: 'sum',
      kernel: 'residual.add',
      operands: { from: read(returned), to: add('normed.gradient') },
      work: memoryWork('add', 3 * hiddenSize * elementBytes, { rows }),
    });
    return;
  }
  builder.kernel({
    id: 'sum',
    kernel: 'moe.combine',
    operands: { returned: read(returned), combined: add('normed.gradient') },
    arguments: { ...combineArguments(p, half, chunks), accumulate: true },
    work: memoryWork('gather', (topK + 2) * hiddenSize * elementBytes, { rows }),
  });
}
