/** Launches of kernels/permute.cu: canonical order on the card, and rows in and out of it. */
import { cuda, type Address, type RuntimeLibrary } from '../bindings/index.js';
import { nullAddress, type Launcher } from './launcher.js';

const threads = 256;
/** permute.cu's `picksPerBlock`. */
const picksPerBlock = 1024;
const warpsPerBlock = 8;
const offsetThreads = 1024;
/** Experts whose rows are put into canonical order here. */
export const mostOrderedExperts = offsetThreads;

export interface PermutationShape {
  readonly tokens: number;
  readonly picks: number;
  readonly experts: number;
  /** Each expert's rows begin at a multiple of it. */
  readonly padding: number;
}

/** int32 arrays in the card's memory. */
export interface CudaPermutation {
  /** [experts] and [experts + 1]: rows of each expert; its first row, the last being the rows in all with padding. */
  readonly counts: Address;
  readonly offsets: Address;
  /** [row capacity]: the pick of each row, -1 in padding. */
  readonly rowPick: Address;
  /** [tokens * picks]: the row of each pick, -1 where dropped. */
  readonly pickRow: Address;
  /** Scratch: twice [blocks, experts]; see `permutationScratch`. */
  readonly scratch: Address;
}

/** Rows that can be needed, whatever the routing. */
export function rowCapacity({ tokens, picks, experts, padding }: PermutationShape): number {
  return tokens * picks + experts * (padding - 1);
}

function blocksOf({ tokens, picks }: PermutationShape): number {
  return Math.ceil((tokens * picks) / picksPerBlock);
}

/** int32 elements of `CudaPermutation.scratch`. */
export function permutationScratch(shape: PermutationShape): number {
  return 2 * blocksOf(shape) * shape.experts;
}

/** ids: int32 tokens x picks, ~id where dropped. Builds counts, offsets and both orders; nothing comes to the host. */
export function buildCudaPermutation({
  on,
  runtime,
  shape,
  ids,
  cudaPermutation: { counts, offsets, rowPick, pickRow, scratch },
}: {
  readonly on: Launcher;
  readonly runtime: RuntimeLibrary;
  readonly shape: PermutationShape;
  readonly ids: Address;
  readonly cudaPermutation: CudaPermutation;
}): void {
  const { experts, padding } = shape;
  const picks = shape.tokens * shape.picks;
  const blocks = blocksOf(shape);
  const starts = scratch + 4 * blocks * experts;
  const counting = { blocks, threads, sharedBytes: 4 * experts };
  on.launch('permute', 'permute_count', counting, { ids, partial: scratch, picks, experts });
  const scan = { partial: scratch, starts, counts, offsets, blocks, experts, padding };
  on.launch('permute', 'permute_offsets', { blocks: 1, threads: offsetThreads }, scan);
  if (padding > 1) runtime.cudaMemsetAsync(rowPick, 0xff, 4 * rowCapacity(shape), on.stream);
  const placing = { blocks, threads, sharedBytes: 4 * experts * (1 + warpsPerBlock) };
  on.launch('permute', 'permute_place', placing, { ids, starts, offsets, rowPick, pickRow, picks, experts });
}

/** Copies counts or offsets to pinned memory of the host, without waiting. */
export function fetchInts({
  runtime,
  stream,
  from,
  to,
  count,
}: {
  readonly runtime: RuntimeLibrary;
  readonly stream: Address;
  readonly from: Address;
  readonly to: Address;
  readonly count: number;
}): void {
  runtime.cudaMemcpyAsync(to, from, 4 * count, cuda.copyAnyWay, stream);
}

export interface RowMove {
  /** Rows that the grid covers: the capacity, or the number known. Rows from offsets' last on are left alone. */
  readonly rows: number;
  /** Picks per token. */
  readonly picks: number;
  readonly width: number;
  readonly rowPick: Address;
  /** One int32 in the card's memory: rows in all, padding included (the last of `offsets`). */
  readonly total: Address;
}

/** rows[row] = source[token of the row], zeros in padding. */
export function packRows(
  on: Launcher,
  { tokens, picks, experts }: PermutationShape,
  { counts, offsets, pickRow }: CudaPermutation,
  { width, source, rows }: { readonly width: number; readonly source: Address; readonly rows: Address },
): void {
  const grid = { blocks: tokens + experts, threads: on.rowThreads(width) };
  on.launch('permute', 'pack_rows', grid, { source, pickRow, counts, offsets, rows, tokens, picks, width });
}

export interface Combine {
  readonly tokens: number;
  readonly picks: number;
  readonly width: number;
  readonly pickRow: Address;
}

/** y[token] = sum over its picks of weight * row; weights fp32, absent: all 1. */
export function combine(
  on: Launcher,
  { tokens, picks, width, pickRow }: Combine,
  arrays: { readonly rows: Address; readonly weights?: Address; readonly y: Address; readonly add?: boolean },
): void {
  const { rows, weights = nullAddress, y, add = false } = arrays;
  const grid = { blocks: tokens, threads: on.rowThreads(width) };
  on.launch('permute', 'combine_rows', grid, { rows, pickRow, weights, y, picks, width, add: Number(add) });
}

/** drows[row] = weight * dy of its token, zeros in padding. */
export function combineRowGradient({
  on,
  move,
  dy,
  weights,
  drows,
}: {
  readonly on: Launcher;
  readonly move: RowMove;
  readonly dy: Address;
  readonly weights: Address;
  readonly drows: Address;
}): void {
  const { rows: blocks, picks, width, rowPick, total } = move;
  const grid = { blocks, threads: on.rowThreads(width) };
  on.launch('permute', 'combine_row_gradient', grid, { dy, rowPick, weights, total, drows, picks, width });
}

/** dweights[pick] = <row, dy of its token>, fp32, 0 where dropped. */
export function combineWeightGradient(
  on: Launcher,
  { tokens, picks, width, pickRow }: Combine,
  { rows, dy, dweights }: { readonly rows: Address; readonly dy: Address; readonly dweights: Address },
): void {
  on.rowThreads(width);
  const allPicks = tokens * picks;
  const grid = { blocks: Math.ceil(allPicks / warpsPerBlock), threads: 32 * warpsPerBlock };
  on.launch('permute', 'combine_weight_gradient', grid, { rows, pickRow, dy, dweights, allPicks, picks, width });
}

/** `moves.cuh`, on the card: where rows lie in a buffer and in a padded one. */
export interface MovesPlan {
  /** Triples [row, padded row, rows]. */
  readonly moves: Address;
  /** With which row of all each move begins, and their number. */
  readonly starts: Address;
  /** The first row of each move's block in the padded buffer, and the rows of all. */
  readonly blocks: Address;
  /** Moves. */
  readonly count: number;
  readonly rows: number;
  /** Rows of the padded buffer. */
  readonly padded: number;
}

/** Rows of `width` elements, and where they come from and go to. */
export interface PlannedRows extends MovesPlan {
  readonly width: number;
  readonly from: Address;
  readonly to: Address;
}

/** Brings rows of a padded buffer to their places. */
export function followMoves(on: Launcher, { moves, starts, count, rows, width, from, to }: PlannedRows): void {
  const plain = { rowPick: nullAddress, picks: 0, weights: nullAddress, pack: 0 };
  const grid = { blocks: rows, threads: on.rowThreads(width) };
  on.launch('permute', 'follow_moves', grid, { from, to, moves, starts, count, width, ...plain });
}

/** Fills a padded buffer: rows from their places, and zeros between them. */
export function padRows(on: Launcher, { moves, blocks, count, padded, width, from, to }: PlannedRows): void {
  const grid = { blocks: padded, threads: on.rowThreads(width) };
  on.launch('permute', 'pad_rows', grid, { from, to, moves, blocks, count, width });
}
