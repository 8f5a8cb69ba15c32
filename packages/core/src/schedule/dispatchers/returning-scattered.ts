/**
 * Scattered combine: reduce-scatter the partial sums over etp (V*(ETP-1)/TP bytes, half of an all-reduce), all-to-all of V/TP back, sum over
 * picks on the own token slice; when activations are replicated the layer gathers the T*h result, cf*k times less than the expert rows.
 * (Megatron-Core with sequence parallelism.)
 */
import { read, write } from '../template-builder.js';
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import { returnedRegion, type ReturningHalf } from './dispatcher.js';

export const returningScattered: ReturningHalf = {
  name: 'scattered',
  scope: () => 'slice',
  routing: () => 'slice',
  unsupported: () => undefined,
  returnedRows: () => 'sent',
  emitChunk({ builder, shape, activation, chunk, of, source, saved }) {
    const { hiddenSize, layout } = shape;
    const returned = builder.region(returnedRegion(returningScattered, shape, activation, saved));
    const mine =
      layout.ep > 1
        ? builder.region(rowsRegion('mine', shape, rowsOf(shape, 'received'), hiddenSize, 'chunks'))
        : returned;
    const expert = rowsOf(shape, 'expert');
    const packed = layout.etp > 1 ? builder.region(rowsRegion('packed', shape, expert, hiddenSize, 'chunks')) : mine;
    builder.kernel(
      `unplace.${chunk}`,
      'moe.unplace.slice',
      work('memory', expert, { bytes: 2 * hiddenSize * dtypeBytes[shape.dtype] }, { chunk, of }),
      [read(source, chunk, of), write(packed, chunk, of)],
      'copy',
    );
    if (layout.etp > 1)
      builder.collective(
        `reduce_scatter.${chunk}`,
        'intra',
        { name: 'reduce_scatter', group: 'etp', counts: 'scatter' },
        [read(packed, chunk, of), write(mine, chunk, of)],
      );
    if (layout.ep > 1)
      builder.collective(`return.${chunk}`, 'inter', { name: 'all_to_all', group: 'ep', counts: 'combine.sliced' }, [
        read(mine, chunk, of),
        write(returned, chunk, of),
      ]);
  },
};
