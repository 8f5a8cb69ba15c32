/**
 * Where rows lie in the canonical buffer and in communication buffers.
 *
 * A *block* is the rows that one source slice sends to one expert. The canonical buffer holds the blocks in the order
 * [expert][source][rows]; block b = expert * sources + source. Chunk c of n of a block of m rows is its rows
 * floor(m*c/n)..floor(m*(c+1)/n), so every chunk touches every block and any two chunk counts see the same canonical
 * rows. A communication buffer holds one chunk after another; within a chunk the blocks stand in the order in which the
 * collective sends or delivers them, which for a sender of an all_to_all is the canonical order itself (destination by
 * destination).
 */

/** Triples [canonical row, packed row, count], without empty ones and with neighbours merged. */
export type Moves = Int32Array;

/** First row of chunk `chunk` of `of` in a block of `rows` rows; `chunk` = `of` gives the end. */
export function chunkBegin(rows: number, chunk: number, of: number): number {
  return Math.floor((rows * chunk) / of);
}

/** First canonical row of every block, and after them the total. `counts[b]`: rows of block b. */
export function blockStarts(counts: Int32Array): Int32Array {
  const starts = new Int32Array(counts.length + 1);
  for (let block = 0; block < counts.length; block++) starts[block + 1] = starts[block] + counts[block];
  return starts;
}

/** RowBlocks that are cut elsewhere than at `chunkBegin`. */
export interface CutBlocks {
  /** Rows of each block. */
  readonly counts: Int32Array;
  /** First row of chunk `chunk` of `of` in a block; `chunk` = `of` gives the end. */
  readonly begin: (block: number, chunk: number, of: number) => number;
}

/** Rows of every block, cut evenly where nothing else is said. */
export type RowBlocks = Int32Array | CutBlocks;

export const cutBlocks = (blocks: RowBlocks): CutBlocks =>
  blocks instanceof Int32Array
    ? { counts: blocks, begin: (block, chunk, of) => chunkBegin(blocks[block], chunk, of) }
    : blocks;

/** Rows of chunk `chunk` of `of` over all blocks. */
export function chunkTotal(blocks: RowBlocks, chunk: number, of: number): number {
  const { counts, begin } = cutBlocks(blocks);
  let total = 0;
  for (let block = 0; block < counts.length; block++) total += begin(block, chunk + 1, of) - begin(block, chunk, of);
  return total;
}

/** RowBlocks in canonical order: what the sender of an all_to_all packs. */
export function sendOrder(experts: number, sources: number): Int32Array {
  return Int32Array.from({ length: experts * sources }, (_, i) => i);
}

/**
 * RowBlocks as an all_to_all over ep delivers them, [ep rank][local expert][slice], where each ep rank sends `slices`
 * slices: 1 when every rank sends its own slice (`sources` = ep), etp when it sends its replica's (`sources` = ep *
 * etp).
 */
export function receiveOrder(localExperts: number, ep: number, slices: number): Int32Array {
  const order = new Int32Array(localExperts * ep * slices);
  let at = 0;
  for (let rank = 0; rank < ep; rank++)
    for (let expert = 0; expert < localExperts; expert++)
      for (let slice = 0; slice < slices; slice++) order[at++] = (expert * ep + rank) * slices + slice;
  return order;
}

/**
 * RowBlocks as an all_gather over etp delivers them when every member contributes what its all_to_all received:
 * [etp member][ep rank][local expert]; sources are numbered with etp fastest.
 */
export function gatherOrder(localExperts: number, ep: number, etp: number): Int32Array {
  const order = new Int32Array(localExperts * ep * etp);
  let at = 0;
  for (let member = 0; member < etp; member++)
    for (let rank = 0; rank < ep; rank++)
      for (let expert = 0; expert < localExperts; expert++) order[at++] = (expert * ep + rank) * etp + member;
  return order;
}

/** Chunk `chunk` of `of` of every block: from canonical rows to packed rows counted from 0, blocks in `order`. */
export function chunkMoves(blocks: RowBlocks, order: Int32Array, chunk: number, of: number): Moves {
  const { counts, begin } = cutBlocks(blocks);
  const starts = blockStarts(counts);
  const moves: number[] = [];
  let packed = 0;
  for (const block of order) {
    const first = begin(block, chunk, of);
    const count = begin(block, chunk + 1, of) - first;
    if (count === 0) continue;
    const canonical = starts[block] + first;
    const last = moves.length - 3;
    if (last >= 0 && moves[last] + moves[last + 2] === canonical) moves[last + 2] = moves[last + 2] + count;
    else moves.push(canonical, packed, count);
    packed += count;
  }
  return Int32Array.from(moves);
}

/**
 * All chunks, one after another in a buffer, blocks of each in `order`: triples [canonical row, row of the buffer,
 * count] by ascending canonical row, without empty ones and with neighbours merged.
 */
export function chunkPlaces(blocks: RowBlocks, order: Int32Array, chunks: number): Moves {
  const { counts, begin } = cutBlocks(blocks);
  const packed = new Int32Array(chunks * counts.length);
  for (let chunk = 0, next = 0; chunk < chunks; chunk++)
    for (const block of order) {
      packed[block * chunks + chunk] = next;
      next += begin(block, chunk + 1, chunks) - begin(block, chunk, chunks);
    }
  const places = new Int32Array(3 * packed.length);
  let [canonical, end] = [0, 0];
  for (let block = 0; block < counts.length; block++)
    for (let chunk = 0; chunk < chunks; chunk++) {
      const rows = begin(block, chunk + 1, chunks) - begin(block, chunk, chunks);
      const to = packed[block * chunks + chunk];
      if (rows === 0) continue;
      // Places cover all rows, so that canonical ones follow one another.
      if (end > 0 && places[end - 2] + places[end - 1] === to) places[end - 1] += rows;
      else {
        places[end] = canonical;
        places[end + 1] = to;
        places[end + 2] = rows;
        end += 3;
      }
      canonical += rows;
    }
  return places.slice(0, end);
}

/** packed rows = canonical rows. Rows have `width` elements. */
export function packRows(moves: Moves, width: number, canonical: Float32Array, packed: Float32Array): void {
  for (let move = 0; move < moves.length; move += 3) {
    const from = moves[move] * width;
    packed.set(canonical.subarray(from, from + moves[move + 2] * width), moves[move + 1] * width);
  }
}

/** canonical rows = packed rows: the inverse of `packRows`. */
export function unpackRows(moves: Moves, width: number, packed: Float32Array, canonical: Float32Array): void {
  for (let move = 0; move < moves.length; move += 3) {
    const from = moves[move + 1] * width;
    canonical.set(packed.subarray(from, from + moves[move + 2] * width), moves[move] * width);
  }
}

/** canonical rows += packed rows: partial sums of several ranks. */
export function addRows(moves: Moves, width: number, packed: Float32Array, canonical: Float32Array): void {
  for (let move = 0; move < moves.length; move += 3) {
    const to = moves[move] * width;
    const from = moves[move + 1] * width;
    const count = moves[move + 2] * width;
    for (let i = 0; i < count; i++) canonical[to + i] = canonical[to + i] + packed[from + i];
  }
}
