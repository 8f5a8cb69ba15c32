/**
 * Duplicated dispatch: every TP rank holds all T tokens and sends all their rows to the same-index rank of each expert's group. Simple, one
 * collective, no gather; V*(EP-1)/EP bytes leave every rank, TP times what is needed. (DeepSpeed before its PR 5626.)
 */
import { read, write } from '../template-builder.js';
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import type { OutgoingHalf } from './dispatcher.js';

export const outgoingDuplicated: OutgoingHalf = {
  name: 'duplicated',
  scope: 'replica',
  unsupported: ({ layout }) =>
    layout.etp === layout.tp
      ? undefined
      : `a duplicated dispatch exchanges between equal TP ranks, so it needs etp = tp (here etp ${layout.etp}, tp ${layout.tp})`,
  emitChunk({ builder, shape, chunk, of, source, weighted, into }) {
    const { hiddenSize, layout } = shape;
    const bytes = 2 * hiddenSize * dtypeBytes[shape.dtype];
    const replica = rowsOf(shape, 'replica');
    const expert = rowsOf(shape, 'expert');
    const send = builder.region(rowsRegion('send', shape, replica, hiddenSize, 'chunks'));
    builder.kernel(
      `pack.${chunk}`,
      `moe.pack.replica${weighted ? '.weighted' : ''}`,
      work('memory', replica, { bytes }, { chunk, of }),
      [read(source), write(send, chunk, of)],
      'copy',
    );
    let arrived = send;
    if (layout.ep > 1) {
      arrived = builder.region(rowsRegion('received', shape, expert, hiddenSize, 'chunks'));
      builder.collective(
        `all_to_all.${chunk}`,
        'inter',
        { name: 'all_to_all', group: 'ep', counts: 'dispatch.duplicated' },
        [read(send, chunk, of), write(arrived, chunk, of)],
      );
    }
    builder.kernel(
      `place.${chunk}`,
      'moe.place.replica',
      work('memory', expert, { bytes }, { chunk, of }),
      [read(arrived, chunk, of), write(into, chunk, of)],
      'copy',
    );
  },
};
