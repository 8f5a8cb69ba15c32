/**
 * Sliced dispatch: every rank sends only the rows of its own token slice, V/TP, to the expert group; an all-gather over the experts' tensor
 * parallel ranks (fast links) rebuilds the full rows, V*(ETP-1)/TP. With etp = 1 there is no gather ("folding"). In n chunks the all-gather
 * of one runs beside the all-to-all of the next (MoNTA).
 */
import { read, write } from '../template-builder.js';
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import type { OutgoingHalf } from './dispatcher.js';

export const outgoingSliced: OutgoingHalf = {
  name: 'sliced',
  scope: 'slice',
  unsupported: () => undefined,
  emitChunk({ builder, shape, chunk, of, source, weighted, into }) {
    const { hiddenSize, layout } = shape;
    const bytes = 2 * hiddenSize * dtypeBytes[shape.dtype];
    const sent = rowsOf(shape, 'sent');
    const expert = rowsOf(shape, 'expert');
    const send = builder.region(rowsRegion('send', shape, sent, hiddenSize, 'chunks'));
    // A source of all T rows is read at the slice's offset: the slice costs no copy.
    builder.kernel(
      `pack.${chunk}`,
      `moe.pack.slice${weighted ? '.weighted' : ''}`,
      work('memory', sent, { bytes }, { chunk, of }),
      [read(source), write(send, chunk, of)],
      'copy',
    );
    let arrived = send;
    if (layout.ep > 1) {
      arrived = builder.region(rowsRegion('received', shape, rowsOf(shape, 'received'), hiddenSize, 'chunks'));
      builder.collective(
        `all_to_all.${chunk}`,
        'inter',
        { name: 'all_to_all', group: 'ep', counts: 'dispatch.sliced' },
        [read(send, chunk, of), write(arrived, chunk, of)],
      );
    }
    if (layout.etp > 1) {
      const gathered = builder.region(rowsRegion('gathered', shape, expert, hiddenSize, 'chunks'));
      builder.collective(`all_gather.${chunk}`, 'intra', { name: 'all_gather', group: 'etp', counts: 'gather' }, [
        read(arrived, chunk, of),
        write(gathered, chunk, of),
      ]);
      arrived = gathered;
    }
    builder.kernel(
      `place.${chunk}`,
      'moe.place.slice',
      work('memory', expert, { bytes }, { chunk, of }),
      [read(arrived, chunk, of), write(into, chunk, of)],
      'copy',
    );
  },
};
