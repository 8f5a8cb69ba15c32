/** The operations that dispatcher halves are made of, one function each, so that a half reads as the list of its steps. */
import { dtypeBytes, rowsOf, rowsRegion, work } from '../moe-shape.js';
import type { RowSymbol, SymbolFamily } from '../schedule.js';
import { add, read, write } from '../template-builder.js';
import type { ChunkContext } from './dispatcher.js';

/** Declares a communication buffer of expert rows. */
export const buffer = ({ builder, shape }: ChunkContext, id: string, rows: RowSymbol): string =>
  builder.region(rowsRegion(id, shape, rowsOf(shape, rows), shape.hiddenSize, 'chunks'));

/** A kernel that moves rows on the copy lane: reads and writes each once. */
export function move(
  c: ChunkContext,
  step: string,
  kernel: string,
  rows: RowSymbol,
  from: string,
  to: string,
  wholeSource = false,
): void {
  const bytes = 2 * c.shape.hiddenSize * dtypeBytes[c.shape.dtype];
  c.builder.kernel(
    `${step}.${c.chunk}`,
    kernel,
    work('memory', rowsOf(c.shape, rows), { bytes }, { chunk: c.chunk, of: c.of }),
    [wholeSource ? read(from) : read(from, c.chunk, c.of), write(to, c.chunk, c.of)],
    'copy',
  );
}

/** all_to_all over the expert parallel group, on the inter lane. */
export function exchange(c: ChunkContext, step: string, counts: SymbolFamily, from: string, to: string): void {
  c.builder.collective(`${step}.${c.chunk}`, 'inter', { name: 'all_to_all', group: 'ep', counts }, [
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
  step: string = name,
): void {
  c.builder.collective(`${step}.${c.chunk}`, 'intra', { name, group, counts }, [
    read(from, c.chunk, c.of),
    write(to, c.chunk, c.of),
  ]);
}

/** Sums partial rows over etp in place, on the intra lane. */
export function sumPartial(c: ChunkContext, region: string): void {
  c.builder.collective(`all_reduce.${c.chunk}`, 'intra', { name: 'all_reduce', group: 'etp' }, [
    add(region, c.chunk, c.of),
  ]);
}
