/**
 * The MoE layer forward, as a template: norm, router, dispatch, experts, combine, residual. Chunks of the dispatch, the expert
 * GEMMs and the combine overlap: all outgoing chunks are issued first, then for each chunk its experts and its way back, so that on the
 * inter lane no outgoing chunk waits behind a returning one.
 *
 * Regions shared between templates: `stream` (the residual stream, step), `gradient` (of it, step), `router.statistics` (step).
 */
import type { Strategy } from './dispatchers/strategies.js';
import { rowsOf, rowsRegion, sliceRows, work, type MoeShape } from './moe-shape.js';
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
  type Parts,
} from './moe-parts.js';
import type { Template } from './schedule.js';
import { add, read, write } from './template-builder.js';

function emitRouting(p: Parts, normed: string): void {
  const { builder, shape } = p;
  const { experts, topK, hiddenSize, layout } = shape;
  const rows = p.scopeRows(p.routing);
  for (const region of routeRegions(shape, rows)) builder.region(region);
  builder.region(statisticsRegion(experts));
  const sources = layout.etp * layout.ep;
  const counts = builder.region({
    id: 'counts',
    dtype: 'i32',
    rows: sources,
    columns: experts,
    order: 'rows',
    life: 'layer',
  });
  const own =
    sources > 1
      ? builder.region({ id: 'counts.own', dtype: 'i32', rows: 1, columns: experts, order: 'rows', life: 'layer' })
      : counts;
  const routes = ['route.ids', 'route.weights', 'route.probabilities'];
  builder.kernel(
    'router',
    `moe.router.${p.routing}`,
    work('gemm', rows, { flops: 2 * hiddenSize * experts, bytes: hiddenSize * p.elementBytes + 12 * experts }),
    [read(normed), ...routes.map((id) => write(id)), add('router.statistics')],
  );
  if (shape.capacityFactor !== undefined) {
    // Which picks are dropped depends on all T tokens, so the slices' picks are gathered first: 8k bytes a token.
    if (p.routing === 'slice' && layout.tp > 1) {
      builder.region({
        id: 'picks',
        dtype: 'f32',
        rows: sliceRows(shape.tokens, layout.tp),
        columns: 2 * topK,
        order: 'rows',
        life: 'layer',
      });
      builder.region({
        id: 'picks.all',
        dtype: 'f32',
        rows: shape.tokens,
        columns: 2 * topK,
        order: 'rows',
        life: 'layer',
      });
      // Ranked by probability before renormalising.
      builder.kernel('picks', 'moe.picks', work('memory', rows, { bytes: 16 * topK }), [
        read('route.ids'),
        read('route.probabilities'),
        write('picks'),
      ]);
      builder.collective('picks.gather', 'intra', { name: 'all_gather', group: 'tp', split: 'tokens' }, [
        read('picks'),
        write('picks.all'),
      ]);
      builder.kernel('capacity', 'moe.capacity.slice', work('memory', shape.tokens, { bytes: 16 * topK }), [
        read('picks.all'),
        add('route.ids'),
        add('route.weights'),
      ]);
    } else
      builder.kernel('capacity', 'moe.capacity.replica', work('memory', rows, { bytes: 16 * topK }), [
        read('route.probabilities'),
        add('route.ids'),
        add('route.weights'),
      ]);
  }
  builder.kernel('count', `moe.count.${p.routing}`, work('memory', rows, { bytes: 4 * topK }), [
    read('route.ids'),
    write(own),
  ]);
  if (sources > 1)
    builder.collective('exchange', 'inter', { name: 'all_gather', group: 'expert', split: 'equal' }, [
      read(own),
      write(counts),
    ]);
  builder.bind('bind', [read(counts)]);
}

/** Forward of one MoE layer: adds the layer's output to `stream`. */
export function moeForward(shape: MoeShape, strategy: Strategy): Template {
  const p = parts(shape, strategy);
  const { builder, activation, elementBytes } = p;
  const { hiddenSize, layout, topK } = shape;
  const of = strategy.chunks.forward;
  const rows = streamRows(shape.tokens, shape);
  builder.region(streamRegion('stream', shape));
  builder.region(rowsRegion('moe.input', shape, rows, hiddenSize, 'rows', 'saved'));
  builder.region(rowsRegion('moe.normed', shape, rows, hiddenSize, 'rows', 'saved'));
  builder.kernel('norm', 'moe.norm', work('memory', rows, { bytes: 3 * hiddenSize * elementBytes }), [
    read('stream'),
    write('moe.input'),
    write('moe.normed'),
  ]);
  const source = p.routing === 'replica' ? gatheredTokens(p, 'gather.tokens', 'moe.normed') : 'moe.normed';
  emitRouting(p, source);

  const expert = rowsOf(shape, 'expert');
  const ffn = shape.expertFfn / layout.etp;
  builder.region(rowsRegion('expert.input', shape, expert, hiddenSize, 'blocks', 'saved'));
  builder.region(rowsRegion('expert.gateUp', shape, expert, 2 * ffn, 'blocks', 'saved'));
  builder.region(rowsRegion('expert.activated', shape, expert, ffn, 'blocks'));
  builder.region(rowsRegion('expert.output', shape, expert, hiddenSize, 'blocks'));
  emitOutgoing(p, of, source, 'expert.input', false);
  const { bytes, fixedBytes } = expertTraffic(p, 1);
  const returned = emitReturning(p, of, 'expert.output', true, (chunk) =>
    builder.kernel(
      { task: 'experts', chunk, of },
      'moe.experts',
      work('gemm', expert, { flops: expertFlops(p), bytes }, { chunk, of, fixedBytes }),
      [
        read('expert.input', chunk, of),
        write('expert.gateUp', chunk, of),
        write('expert.activated', chunk, of),
        write('expert.output', chunk, of),
      ],
    ),
  );
  const combinedRows = p.scopeRows(p.combined);
  builder.region(rowsRegion('combined', shape, combinedRows, hiddenSize, 'rows'));
  builder.kernel(
    'combine',
    `moe.combine.${p.combined}`,
    work('memory', combinedRows, { bytes: (topK + 1) * hiddenSize * elementBytes }),
    [
      ...Array.from({ length: of }, (_, chunk) => read(returned, chunk, of)),
      read('route.ids'),
      read('route.weights'),
      write('combined'),
    ],
  );
  const output = gatheredCombined(p, 'combined', 'gather.output');
  builder.kernel('residual', 'residual.add', work('memory', rows, { bytes: 3 * hiddenSize * elementBytes }), [
    read(output),
    add('stream'),
  ]);
  return builder.build('moe.forward', activation, activation);
}
