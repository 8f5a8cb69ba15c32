/**
 * Duplicated combine: all-reduce the experts' partial sums over etp (2Vq bytes a rank), then every TP rank takes all rows of its replica
 * back through an all-to-all of V. The mirror of the duplicated dispatch.
 */
import { add, read, write } from '../template-builder.js';
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import { returnedRegion, type ReturningHalf } from './dispatcher.js';

export const returningDuplicated: ReturningHalf = {
  name: 'duplicated',
  scope: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  routing: () => 'replica',
  unsupported: ({ layout }) =>
    layout.etp === layout.tp
      ? undefined
      : `a duplicated combine exchanges between equal TP ranks, so it needs etp = tp (here etp ${layout.etp}, tp ${layout.tp})`,
  returnedRows: () => 'replica',
  emitChunk({ builder, shape, activation, chunk, of, source, saved }) {
    const { hiddenSize, layout } = shape;
    const expert = rowsOf(shape, 'expert');
    const returned = builder.region(returnedRegion(returningDuplicated, shape, activation, saved));
    const packed = layout.ep > 1 ? builder.region(rowsRegion('packed', shape, expert, hiddenSize, 'chunks')) : returned;
    builder.kernel(
      `unplace.${chunk}`,
      'moe.unplace.replica',
      work('memory', expert, { bytes: 2 * hiddenSize * dtypeBytes[shape.dtype] }, { chunk, of }),
      [read(source, chunk, of), write(packed, chunk, of)],
      'copy',
    );
    if (layout.etp > 1)
      builder.collective(`all_reduce.${chunk}`, 'intra', { name: 'all_reduce', group: 'etp' }, [
        add(packed, chunk, of),
      ]);
    if (layout.ep > 1)
      builder.collective(
        `return.${chunk}`,
        'inter',
        { name: 'all_to_all', group: 'ep', counts: 'combine.duplicated' },
        [read(packed, chunk, of), write(returned, chunk, of)],
      );
  },
};
