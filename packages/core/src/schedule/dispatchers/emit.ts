/**
 * The operations that dispatcher halves are made of, one function each, so that a half reads as the list of its steps.
 */
import { dtypeBytes, rowsRegion } from '../moe-shape.js';
import { fp8RowBytes } from '../payload.js';
import type { Group } from '../../layout/layout.js';
import type { Exchange, RowOrder, Scope, Size } from '../rows.js';
import type { Lane, Work } from '../schedule.js';
import { add, own, read, write, type Piece } from '../template-builder.js';
import { memoryWork } from '../work.js';
import type { ChunkContext, OutgoingContext } from './dispatcher.js';

const pieceOf = ({ chunk, of }: ChunkContext, task: string): Piece => ({ task, chunk, of });

/** Declares a communication buffer of expert rows: in fp8 its elements are bytes, scales among them. */
export const buffer = ({ builder, shape, payload }: ChunkContext, id: string, rows: Size): string =>
  builder.region(
    payload === 'fp8'
      ? { id, dtype: 'fp8', rows, columns: fp8RowBytes(shape.hiddenSize), order: 'chunks', life: 'layer' }
      : rowsRegion({ id, shape, rows, columns: shape.hiddenSize, order: 'chunks' }),
  );

/** Bytes of a row in the layer's type. */
export const plainBytes = ({ shape }: ChunkContext): number => shape.hiddenSize * dtypeBytes[shape.dtype];

/** Bytes of a row as it travels. */
export const travelBytes = (c: ChunkContext): number =>
  c.payload === 'fp8' ? fp8RowBytes(c.shape.hiddenSize) : plainBytes(c);

/** Bytes that are read and written to bring a row into a buffer or out of one. */
export const packBytes = (c: ChunkContext): number => plainBytes(c) + travelBytes(c);

/** Moving rows between a buffer and the layer's own regions on the copy lane: each is read and written once. */
const moved = (c: ChunkContext, rows: Size): Work =>
  memoryWork('gather', packBytes(c), { rows, chunk: c.chunk, of: c.of });

/** Rows of one buffer on their way into another, and the order in which they travel. */
interface MovedRows {
  readonly order: RowOrder;
  readonly rows: Size;
  readonly from: string;
  readonly to: string;
}

/** What of the tokens' picks is packed, and where to. */
interface PackedRows extends Omit<MovedRows, 'from'> {
  readonly scope: Scope;
}

/** Packs the rows of a chunk of the tokens' picks into a send buffer, in the given order of blocks. */
export function pack(c: OutgoingContext, { scope, order, rows, to }: PackedRows): void {
  const tokens = (region: string) => (scope === 'slice' ? own(read(region)) : read(region));
  c.builder.kernel({
    id: pieceOf(c, 'pack'),
    kernel: 'moe.pack',
    operands: {
      source: tokens(c.source),
      weights: c.weighted ? tokens('route.weights') : undefined,
      packed: write(to, c.chunk, c.of),
    },
    arguments: { scope, order },
    work: moved(c, rows),
    lane: 'copy',
  });
}

/** Places a chunk of arrived rows where they belong in the canonical order. */
export function place(c: OutgoingContext, order: RowOrder, rows: Size, from: string): void {
  c.builder.kernel({
    id: pieceOf(c, 'place'),
    kernel: 'moe.place',
    operands: { arrived: read(from, c.chunk, c.of), canonical: write(c.into, c.chunk, c.of) },
    arguments: { order },
    work: moved(c, rows),
    lane: 'copy',
  });
}

/** Takes a chunk of canonical rows out, into the order in which they travel. */
export function unplace(c: ChunkContext, { order, rows, from, to }: MovedRows): void {
  c.builder.kernel({
    id: pieceOf(c, 'unplace'),
    kernel: 'moe.unplace',
    operands: { canonical: read(from, c.chunk, c.of), packed: write(to, c.chunk, c.of) },
    arguments: { order },
    work: moved(c, rows),
    lane: 'copy',
  });
}

/** Keeps the section of this rank's etp index. */
export function takeOwn(c: ChunkContext, { order, rows, from, to }: MovedRows): void {
  c.builder.kernel({
    id: pieceOf(c, 'take'),
    kernel: 'moe.take',
    operands: { gathered: read(from, c.chunk, c.of), own: write(to, c.chunk, c.of) },
    arguments: { order },
    work: moved(c, rows),
    lane: 'copy',
  });
}

/** An all_to_all of counted rows. */
export interface ExchangeRows {
  readonly task: string;
  readonly group?: Group;
  readonly lane?: Lane;
  readonly counts: Exchange;
  readonly from: string;
  readonly to: string;
}

/** Over the expert parallel group and on the inter lane unless others are given. */
export function exchange(c: ChunkContext, exchanged: ExchangeRows): void {
  const { task, group = 'ep', lane = 'inter', counts, from, to } = exchanged;
  c.builder.collective({
    id: pieceOf(c, task),
    lane,
    collective: { name: 'all_to_all', group, counts },
    operands: { from: read(from, c.chunk, c.of), to: write(to, c.chunk, c.of) },
  });
}

/** An all_gather or reduce_scatter of counted rows. */
export interface Spread {
  readonly name: 'all_gather' | 'reduce_scatter';
  readonly group: Group;
  readonly counts: Exchange;
  readonly from: string;
  readonly to: string;
  /** What it is called; as the collective when left out. */
  readonly task?: string;
}

/** On the intra lane. */
export function spread(c: ChunkContext, { name, group, counts, from, to, task = name }: Spread): void {
  c.builder.collective({
    id: pieceOf(c, task),
    lane: 'intra',
    collective: { name, group, counts },
    operands: { from: read(from, c.chunk, c.of), to: write(to, c.chunk, c.of) },
  });
}

/** Sums partial rows over etp in place, on the intra lane. */
export function sumPartial(c: ChunkContext, region: string): void {
  c.builder.collective({
    id: pieceOf(c, 'all_reduce'),
    lane: 'intra',
    collective: { name: 'all_reduce', group: 'etp' },
    operands: { buffer: add(region, c.chunk, c.of) },
  });
}
