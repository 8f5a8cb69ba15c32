/**
 * Collectives over TP around a layer whose matrices are split: before, all tokens are gathered; behind, partial sums
 * are added up.
 */
import { activationOf, rowsRegion, type MoeShape } from './moe-shape.js';
import { streamRegion, streamRows } from './moe-parts.js';
import { add, read, write, type TemplateBuilder } from './template-builder.js';

/** Gathers all T rows over TP from every rank's slice. */
export function gatherTokens(builder: TemplateBuilder, slice: string, all: string, id = 'gather'): void {
  builder.collective({
    id,
    lane: 'intra',
    collective: { name: 'all_gather', group: 'tp', split: 'tokens' },
    operands: { from: read(slice), to: write(all) },
  });
}

/** The stream's gradient of all T rows: gathered when the stream is sliced. Returns the region. */
export function gatheredGradient(builder: TemplateBuilder, shape: MoeShape): string {
  builder.region(streamRegion('gradient', shape));
  if (activationOf(shape.layout) !== 'sequence') return 'gradient';
  const all = builder.region(
    rowsRegion({ id: 'gradient.all', shape, rows: shape.tokens, columns: shape.hiddenSize, order: 'rows' }),
  );
  gatherTokens(builder, 'gradient', all);
  return all;
}

/**
 * Sums partial rows over TP: in place with replicated activations, into this rank's slice with sequence parallelism.
 * Returns the region.
 */
export function reducePartial(builder: TemplateBuilder, shape: MoeShape, partial: string, id: string): string {
  const { layout, hiddenSize, tokens } = shape;
  if (layout.tp === 1) return partial;
  if (activationOf(layout) === 'replicated') {
    builder.collective({
      id,
      lane: 'intra',
      collective: { name: 'all_reduce', group: 'tp' },
      operands: { buffer: add(partial) },
    });
    return partial;
  }
  const slice = builder.region(
    rowsRegion({ id: `${partial}.slice`, shape, rows: streamRows(tokens, shape), columns: hiddenSize, order: 'rows' }),
  );
  builder.collective({
    id,
    lane: 'intra',
    collective: { name: 'reduce_scatter', group: 'tp', split: 'tokens' },
    operands: { from: read(partial), to: write(slice) },
  });
  return slice;
}
