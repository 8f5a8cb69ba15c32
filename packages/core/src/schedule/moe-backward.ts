/** The MoE layer backward, as a template. See `moe-forward.ts` for the order of chunks and `dispatchers/dispatcher.ts` for what the halves mean here. */
import { outgoingHalves, returningHalves, type Strategy } from './dispatchers/strategies.js';
import { returnedRegion } from './dispatchers/dispatcher.js';
import { rowsOf, rowsRegion, work, type MoeShape } from './moe-shape.js';
import {
  emitOutgoing,
  emitReturning,
  gatheredCombined,
  expertFlops,
  expertTraffic,
  gatheredTokens,
  parts,
  routeRegions,
  statisticsRegion,
  streamRegion,
  streamRows,
} from './moe-parts.js';
import type { Template } from './schedule.js';
import { add, read, write } from './template-builder.js';

/**
 * Backward of one MoE layer: `gradient` holds the gradient of the layer's output and receives that of its input; weight gradients of
 * experts, router and norm are accumulated by the kernels. The chunk count is its own.
 */
export function moeBackward(shape: MoeShape, strategy: Strategy): Template {
  const p = parts(shape, strategy);
  const { builder, activation, elementBytes } = p;
  const { hiddenSize, layout, topK, experts } = shape;
  const of = strategy.chunks.backward;
  const forwardChunks = strategy.chunks.forward;
  const expert = rowsOf(shape, 'expert');
  const ffn = shape.expertFfn / layout.etp;
  const rows = streamRows(shape.tokens, shape);
  const combinedRows = p.scopeRows(p.combined);
  builder.region(streamRegion('gradient', shape));
  builder.region(rowsRegion('moe.input', shape, rows, hiddenSize, 'rows', 'saved'));
  builder.region(rowsRegion('moe.normed', shape, rows, hiddenSize, 'rows', 'saved'));
  for (const region of routeRegions(shape, p.scopeRows(p.routing))) builder.region(region);
  builder.region(statisticsRegion(experts));
  builder.region(rowsRegion('expert.input', shape, expert, hiddenSize, 'blocks', 'saved'));
  builder.region(rowsRegion('expert.gateUp', shape, expert, 2 * ffn, 'blocks', 'saved'));
  builder.region(rowsRegion('expert.outputGradient', shape, expert, hiddenSize, 'blocks'));
  builder.region(rowsRegion('expert.activated', shape, expert, ffn, 'blocks'));
  builder.region(rowsRegion('expert.gateUpGradient', shape, expert, 2 * ffn, 'blocks'));
  builder.region(rowsRegion('expert.inputGradient', shape, expert, hiddenSize, 'blocks'));
  builder.region({
    id: 'route.gradient',
    dtype: 'f32',
    rows: combinedRows,
    columns: topK,
    order: 'rows',
    life: 'layer',
  });

  const outgoing = outgoingHalves[strategy.dispatch];
  const returning = returningHalves[strategy.combine];
  const savedReturned = builder.region(returnedRegion(returning, shape, activation, true));
  const source =
    outgoing.scope === 'replica' && layout.tp > 1 ? gatheredTokens(p, 'gather.gradient', 'gradient') : 'gradient';
  emitOutgoing(p, of, source, 'expert.outputGradient', true);

  // Beside the first transfers: gradients of the picks' weights, and through the router.
  builder.kernel(
    'weights',
    `moe.combine.weights.${p.combined}`,
    work('memory', combinedRows, { bytes: (topK + 1) * hiddenSize * elementBytes }),
    [
      ...Array.from({ length: forwardChunks }, (_, chunk) => read(savedReturned, chunk, forwardChunks)),
      read('gradient'),
      read('route.ids'),
      write('route.gradient'),
    ],
  );
  builder.region(rowsRegion('normed.gradient', shape, combinedRows, hiddenSize, 'rows'));
  builder.kernel(
    'router',
    `moe.router.backward.${p.combined}`,
    work('gemm', combinedRows, {
      // The input's gradient of every row; the weight's only of the own slice's.
      flops: 2 * hiddenSize * experts * (1 + (p.combined === 'replica' ? 1 / layout.tp : 1)),
      bytes: 3 * hiddenSize * elementBytes + 12 * experts,
    }),
    [
      read('route.gradient'),
      read('route.ids'),
      read('route.probabilities'),
      read('router.statistics'),
      read('moe.normed'),
      write('normed.gradient'),
    ],
  );
  const { bytes, fixedBytes } = expertTraffic(p, 1);
  const returned = emitReturning(p, of, 'expert.inputGradient', false, (chunk) =>
    builder.kernel(
      { task: 'experts', chunk, of },
      'moe.experts.inputGradient',
      work('gemm', expert, { flops: expertFlops(p), bytes }, { chunk, of, fixedBytes }),
      [
        read('expert.outputGradient', chunk, of),
        read('expert.gateUp', chunk, of),
        write('expert.activated', chunk, of),
        write('expert.gateUpGradient', chunk, of),
        write('expert.inputGradient', chunk, of),
      ],
    ),
  );
  // Weight gradients need no communication: they fill the compute lane while the last chunks travel.
  builder.kernel(
    'experts.weights',
    'moe.experts.weightGradient',
    work('gemm', expert, { flops: expertFlops(p), bytes }, { fixedBytes: 2 * fixedBytes }),
    [read('expert.input'), read('expert.activated'), read('expert.gateUpGradient'), read('expert.outputGradient')],
  );
  builder.kernel(
    'sum',
    `moe.combine.backward.${p.combined}`,
    work('memory', combinedRows, { bytes: (topK + 2) * hiddenSize * elementBytes }),
    [...Array.from({ length: of }, (_, chunk) => read(returned, chunk, of)), read('route.ids'), add('normed.gradient')],
  );
  const normedGradient = gatheredCombined(p, 'normed.gradient', 'gather.inputGradient');
  builder.kernel('norm', 'moe.norm.backward', work('memory', rows, { bytes: 5 * hiddenSize * elementBytes }), [
    read(normedGradient),
    read('moe.input'),
    add('gradient'),
  ]);
  return builder.build('moe.backward', activation, activation);
}
