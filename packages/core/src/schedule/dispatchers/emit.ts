/** The operations that dispatcher halves are made of, one function each, so that a half reads as the list of its steps. */
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import type { RowSymbol, SymbolFamily } from '../schedule.js';
import { add, read, write, type Piece } from '../template-builder.js';
import type { ChunkContext } from './dispatcher.js';

const pieceOf = ({ chunk, of }: ChunkContext, task: string): Piece => ({ task, chunk, of });

/** Declares a communication buffer of expert rows. */
export const buffer = ({ builder, shape }: ChunkContext, id: string, rows: RowSymbol): string =>
  builder.region(rowsRegion(id, shape, rowsOf(shape, rows), shape.hiddenSize, 'chunks'));

/** A kernel that moves rows on the copy lane: reads and writes each once. */
export function move(
  c: ChunkContext,
  task: string,
  kernel: string,
  rows: RowSymbol,
  from: string,
  to: string,
  wholeSource = false,
): void {
  const bytes = 2 * c.shape.hiddenSize * dtypeBytes[c.shape.dtype];
  c.builder.kernel(
    pieceOf(c, task),
    kernel,
    work('memory', rowsOf(c.shape, rows), { bytes }, { chunk: c.chunk, of: c.of }),
    [wholeSource ? read(from) : read(from, c.chunk, c.of), write(to, c.chunk, c.of)],
    'copy',
  );
}

/** all_to_all over the expert parallel group, on the inter lane. */
export function exchange(c: ChunkContext, task: string, counts: SymbolFamily, from: string, to: string): void {
  c.builder.collective(pieceOf(c, task), 'inter', { name: 'all_to_all', group: 'ep', counts }, [
    read(from, c.chunk, c.of),
    write(to, c.chunk, c.of),
  ]);
}

/** all_gather or reduce_scatter of counted rows, on the intra lane. */
export function spread(
  c: ChunkContext,
  name: 'all_gather' | 'reduce_scatter',
  group: 'etp' | 'tp',
  counts: SymbolFamily,
  from: string,
  to: string,
  task: string = name,
): void {
  c.builder.collective(pieceOf(c, task), 'intra', { name, group, counts }, [
    read(from, c.chunk, c.of),
    write(to, c.chunk, c.of),
  ]);
}

/** Sums partial rows over etp in place, on the intra lane. */
export function sumPartial(c: ChunkContext, region: string): void {
  c.builder.collective(pieceOf(c, 'all_reduce'), 'intra', { name: 'all_reduce', group: 'etp' }, [
    add(region, c.chunk, c.of),
  ]);
}
