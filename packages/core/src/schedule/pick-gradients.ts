/**
 * Gradients of the picks' weights where they arise at the experts: on their way back to the tokens, 4 bytes a pick.
 * They travel as rows of one column do in the scattered combine: reduce_scatter of the partial sums over etp,
 * all_to_all.
 */
import { canonicalOrder, gatheredOrder, scatterReceived, sliceReturn } from './dispatchers/exchanges.js';
import { expertSize, receivedSize, sentSize } from './moe-shape.js';
import { weightGradients, type Parts } from './moe-parts.js';
import type { Size } from './rows.js';
import type { Region } from './schedule.js';
import { read, write } from './template-builder.js';
import { memoryWork } from './work.js';

/** Fills `route.gradient` of the own slice. */
export function emitPickGradients(p: Parts): void {
  const { builder, shape } = p;
  const { etp, ep, tp } = shape.layout;
  const region = (id: string, rows: Size): string => {
    const declared: Region = { id, dtype: 'f32', rows, columns: 1, order: 'chunks', life: 'layer' };
    return builder.region(declared);
  };
  const returned = region('pickGradient.returned', sentSize(shape));
  const mine = ep > 1 ? region('pickGradient.mine', receivedSize(shape)) : returned;
  const packed = etp > 1 ? region('pickGradient.packed', expertSize(shape)) : mine;
  builder.kernel({
    id: 'pickGradient.unplace',
    kernel: 'moe.unplace',
    operands: { canonical: read(builder.region(weightGradients(p))), packed: write(packed) },
    arguments: { order: gatheredOrder },
    work: memoryWork('gather', 8, { rows: expertSize(shape) }),
    lane: 'copy',
  });
  if (etp > 1)
    builder.collective({
      id: 'pickGradient.reduce_scatter',
      lane: 'intra',
      collective: { name: 'reduce_scatter', group: 'etp', counts: scatterReceived },
      operands: { from: read(packed), to: write(mine) },
    });
  if (ep > 1)
    builder.collective({
      id: 'pickGradient.return',
      lane: 'inter',
      collective: { name: 'all_to_all', group: 'ep', counts: sliceReturn },
      operands: { from: read(mine), to: write(returned) },
    });
  builder.kernel({
    id: 'pickGradient',
    kernel: 'picks.gradient',
    operands: { returned: read(returned), routeGradient: write('route.gradient') },
    arguments: { scope: 'slice', returnedScope: 'slice', order: canonicalOrder, chunks: 1 },
    work: memoryWork('gather', 8 * shape.topK, { rows: p.scopeRows(tp === 1 ? 'slice' : p.combined) }),
  });
}
