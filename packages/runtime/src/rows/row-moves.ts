/**
 * Plans of moves between row layouts (core's `dispatchers/row-layout.ts`): for every fine row of a chunk the coarse row
 * of the same token, and the pick that it serves. Followed by `rows.copy`, `rows.sum` and `rows.weigh`.
 */
import { chunkStart, reachesRange } from '@monta/core/routing';
import { blockRows } from '@monta/core/schedule';
import { countingSort } from '@monta/core/units';
import type { GroupRouting, Part, RankPlace, RowBlock, RowPairs, RowSide } from '@monta/core';

export interface RowMoves {
  readonly fine: Int32Array;
  readonly coarse: Int32Array;
  /**
   * Place of each fine row's pick among those of all tokens of the group, [token][k]; -1 where a fine row serves
   * several experts.
   */
  readonly picks: Int32Array;
}

/** A block, and the rows that lie before it on its side and before the chunk in it. */
export interface PlacedBlock {
  readonly block: RowBlock;
  /** Where the chunk's first row lies. */
  readonly first: number;
  readonly rows: number;
}

/** Blocks of a side with the chunk's rows where they lie. */
function placed({ layout, whole }: RowSide, at: RankPlace, part: Part, routing: GroupRouting): PlacedBlock[] {
  const { chunk, of } = part;
  let start = 0;
  return layout
    .blocks(at, routing.experts)
    .flat()
    .map((block) => {
      const rows = blockRows(block, at, part, routing);
      let first = start;
      if (whole) {
        for (let before = 0; before < chunk; before++) first += blockRows(block, at, { chunk: before, of }, routing);
        start += blockRows(block, at, { chunk: 0, of: 1 }, routing);
      } else start += rows;
      return { block, first, rows };
    });
}

const same = (a: RowBlock, b: RowBlock): boolean => a.start === b.start && a.end === b.end && a.every === b.every;

const holds = (coarse: RowBlock, fine: RowBlock): boolean =>
  coarse.every === true || (fine.every !== true && coarse.start <= fine.start && fine.end <= coarse.end);

/** Rows of a block's chunk in order: the token of each, and the pick where the block is of one expert. */
interface BlockTokens {
  readonly tokens: Int32Array;
  readonly picks?: Int32Array;
}

/** A source's picks of a chunk, sorted by expert: those of expert e stand from starts[e] on, in token order. */
interface SortedPicks {
  readonly starts: Int32Array;
  readonly tokens: Int32Array;
  readonly picks: Int32Array;
}

/** The tokens of every source that have a row in a block, in order. */
class TokenLists {
  readonly #routing: GroupRouting;
  readonly #part: Part;
  readonly #sorted = new Map<number, SortedPicks>();

  constructor(routing: GroupRouting, part: Part) {
    this.#routing = routing;
    this.#part = part;
  }

  /** Tokens of the chunk of a block. */
  of(block: RowBlock): BlockTokens {
    if (block.every !== true && block.end - block.start === 1) {
      const { starts, tokens, picks } = this.#sort(block.source);
      const [from, to] = [starts[block.start], starts[block.end]];
      return { tokens: tokens.subarray(from, to), picks: picks.subarray(from, to) };
    }
    const { start, end, ids, topK } = this.chunk(block.source);
    const tokens = new Int32Array(end - start);
    let count = 0;
    for (let token = start; token < end; token++)
      if (block.every === true || reachesRange(ids, topK, token, block)) tokens[count++] = token;
    return { tokens: tokens.subarray(0, count) };
  }

  /** Tokens [start, end) of a source that are the chunk's, and all its picks. */
  chunk(source: number): { start: number; end: number; ids: Int32Array; topK: number } {
    const { chunk, of } = this.#part;
    const picks = this.#routing.picks(source);
    if (picks === undefined) throw new Error(`the picks of source ${source} are not known`);
    const { ids, topK } = picks;
    const tokens = ids.length / topK;
    return { start: chunkStart(tokens, chunk, of), end: chunkStart(tokens, chunk + 1, of), ids, topK };
  }

  #sort(source: number): SortedPicks {
    let sorted = this.#sorted.get(source);
    if (sorted !== undefined) return sorted;
    const { start, end, ids, topK } = this.chunk(source);
    const { starts, order: picks } = countingSort(ids.subarray(start * topK, end * topK), this.#routing.experts);
    const tokens = new Int32Array(picks.length);
    for (let row = 0; row < picks.length; row++) {
      picks[row] += start * topK;
      tokens[row] = Math.floor(picks[row] / topK);
    }
    sorted = { starts, tokens, picks };
    this.#sorted.set(source, sorted);
    return sorted;
  }
}

/** What a plan is made for. */
export interface MoveRequest {
  readonly pairs: RowPairs;
  readonly part: Part;
  readonly at: RankPlace;
  readonly routing: GroupRouting;
  /** First pick of a source among those of all tokens of the group; undefined where picks are not asked for. */
  readonly firstPick?: (source: number) => number;
}

/** A fine block with rows, and the coarse block that holds its tokens. */
export interface PairedBlocks {
  readonly fine: PlacedBlock;
  readonly coarse: PlacedBlock;
  /** Both hold the same tokens in the same order. */
  readonly alike: boolean;
  /** Rows of the pairs before. */
  readonly before: number;
}

/** Throws when a fine row has no coarse row, unless the pairs are partial. */
export function pairBlocks({ pairs, part, at, routing }: MoveRequest): PairedBlocks[] {
  const coarse = new Map<number, PlacedBlock[]>();
  for (const one of placed(pairs.coarse, at, part, routing)) {
    const known = coarse.get(one.block.source);
    if (known === undefined) coarse.set(one.block.source, [one]);
    else known.push(one);
  }
  const found: PairedBlocks[] = [];
  let before = 0;
  for (const fine of placed(pairs.fine, at, part, routing)) {
    const { block, rows } = fine;
    if (rows === 0) continue;
    const from = coarse.get(block.source)?.find((one) => holds(one.block, block));
    if (from === undefined) {
      if (pairs.partial === true) continue;
      throw new Error(`rows of source ${block.source} are asked for, and ${pairs.coarse.layout.name} has none`);
    }
    found.push({ fine, coarse: from, alike: same(from.block, block), before });
    before += rows;
  }
  return found;
}

export const pairedRows = (blocks: readonly PairedBlocks[]): number => {
  const last = blocks.at(-1);
  return last === undefined ? 0 : last.before + last.fine.rows;
};

/** The pairs of blocks, row by row. */
export function rowMoves({ part, routing, firstPick }: MoveRequest, blocks: readonly PairedBlocks[]): RowMoves {
  const lists = new TokenLists(routing, part);
  const total = pairedRows(blocks);
  const [fine, coarse] = [new Int32Array(total), new Int32Array(total)];
  const moves = { fine, coarse, picks: new Int32Array(total).fill(-1) };
  const placesOf = rowFinder(lists);
  for (const { fine: to, coarse: from, alike, before } of blocks) {
    const { block, first, rows } = to;
    for (let i = 0; i < rows; i++) fine[before + i] = first + i;
    const single = firstPick !== undefined && block.every !== true && block.end - block.start === 1;
    if (alike) {
      for (let i = 0; i < rows; i++) coarse[before + i] = from.first + i;
      if (single) notePicks(moves.picks, before, firstPick(block.source), lists.of(block).picks);
      continue;
    }
    const { tokens, picks } = lists.of(block);
    const { places, start } = placesOf(from.block);
    for (let i = 0; i < rows; i++) {
      const place = places[tokens[i] - start];
      if (place < 0) throw new Error(`token ${tokens[i]} of source ${block.source} is not in its block`);
      coarse[before + i] = from.first + place;
    }
    if (single) notePicks(moves.picks, before, firstPick(block.source), picks);
  }
  return moves;
}

function notePicks(into: Int32Array, at: number, first: number, picks: Int32Array | undefined): void {
  if (picks !== undefined) for (let i = 0; i < picks.length; i++) into[at + i] = first + picks[i];
}

/** Place of every token of a block's chunk in the block, counted from the chunk's first token. */
interface Places {
  readonly places: Int32Array;
  readonly start: number;
}

function rowFinder(lists: TokenLists): (block: RowBlock) => Places {
  const known = new Map<RowBlock, Places>();
  return (block) => {
    let found = known.get(block);
    if (found === undefined) {
      const { start, end } = lists.chunk(block.source);
      found = { places: new Int32Array(end - start).fill(-1), start };
      const { tokens } = lists.of(block);
      for (let place = 0; place < tokens.length; place++) found.places[tokens[place] - start] = place;
      known.set(block, found);
    }
    return found;
  };
}
