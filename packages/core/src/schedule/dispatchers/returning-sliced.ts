/**
 * Sliced combine, as DeepSpeed writes it: all-reduce the partial sums over etp (2Vq), keep the rows of the own slice, all-to-all of V/TP
 * back, and, when activations are replicated, an all-gather of the returned expert rows over TP (Vq), so that every rank sums all tokens.
 */
import { add, read, write } from '../template-builder.js';
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import { returnedRegion, type ReturningHalf } from './dispatcher.js';

export const returningSliced: ReturningHalf = {
  name: 'sliced',
  scope: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  routing: (activation) => (activation === 'replicated' ? 'replica' : 'slice'),
  unsupported: ({ layout }) =>
    (layout.etp * layout.ep) % layout.tp === 0 || layout.sequenceParallel
      ? undefined
      : `a sliced combine gathers the returned rows of all TP ranks, so one expert group must hold them all: etp*ep (${layout.etp * layout.ep}) must be a multiple of tp (${layout.tp})`,
  returnedRows: (activation) => (activation === 'replicated' ? 'replica' : 'sent'),
  emitChunk({ builder, shape, activation, chunk, of, source, saved }) {
    const { hiddenSize, layout } = shape;
    const bytes = 2 * hiddenSize * dtypeBytes[shape.dtype];
    const expand = activation === 'replicated' && layout.tp > 1;
    const returned = builder.region(returnedRegion(returningSliced, shape, activation, saved));
    const slice = expand
      ? builder.region(rowsRegion('returned.slice', shape, rowsOf(shape, 'sent'), hiddenSize, 'chunks'))
      : returned;
    const mine =
      layout.ep > 1
        ? builder.region(rowsRegion('mine', shape, rowsOf(shape, 'received'), hiddenSize, 'chunks'))
        : slice;
    const expert = rowsOf(shape, 'expert');
    const packed = layout.etp > 1 ? builder.region(rowsRegion('packed', shape, expert, hiddenSize, 'chunks')) : mine;
    builder.kernel(
      `unplace.${chunk}`,
      'moe.unplace.slice',
      work('memory', expert, { bytes }, { chunk, of }),
      [read(source, chunk, of), write(packed, chunk, of)],
      'copy',
    );
    if (layout.etp > 1) {
      builder.collective(`all_reduce.${chunk}`, 'intra', { name: 'all_reduce', group: 'etp' }, [
        add(packed, chunk, of),
      ]);
      builder.kernel(
        `take.${chunk}`,
        'moe.takeOwn',
        work('memory', rowsOf(shape, 'received'), { bytes }, { chunk, of }),
        [read(packed, chunk, of), write(mine, chunk, of)],
        'copy',
      );
    }
    if (layout.ep > 1)
      builder.collective(`return.${chunk}`, 'inter', { name: 'all_to_all', group: 'ep', counts: 'combine.sliced' }, [
        read(mine, chunk, of),
        write(slice, chunk, of),
      ]);
    if (expand)
      builder.collective(`expand.${chunk}`, 'intra', { name: 'all_gather', group: 'tp', counts: 'expand' }, [
        read(slice, chunk, of),
        write(returned, chunk, of),
      ]);
  },
};
