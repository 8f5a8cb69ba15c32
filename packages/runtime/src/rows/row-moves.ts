/**
 * Plans of moves between row layouts (core's `dispatchers/row-layout.ts`): for every fine row of a chunk the coarse row
 * of the same token, and the pick that it serves. Followed by `rows.copy`, `rows.sum` and `rows.weigh`.
 */
import { chunkStart, reachesRange } from '@monta/core/routing';
import { blockRows } from '@monta/core/schedule';
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
interface PlacedBlock {
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

/** The tokens of every source that have a row in a block, in order. */
class TokenLists {
  readonly #routing: GroupRouting;
  readonly #part: Part;
  readonly #byExpert = new Map<number, number[][]>();

  constructor(routing: GroupRouting, part: Part) {
    this.#routing = routing;
    this.#part = part;
  }

  /** Tokens of the chunk of a block. */
  of(block: RowBlock): readonly number[] {
    if (block.every !== true && block.end - block.start === 1) return this.#single(block.source)[block.start];
    const { start, end, ids, topK } = this.#chunk(block.source);
    const tokens: number[] = [];
    for (let token = start; token < end; token++)
      if (block.every === true || reachesRange(ids, topK, token, block)) tokens.push(token);
    return tokens;
  }

  /** Pick of a token that goes to an expert. */
  pick(source: number, token: number, expert: number): number {
    const { ids, topK } = this.#known(source);
    return token * topK + ids.subarray(token * topK, (token + 1) * topK).indexOf(expert);
  }

  /** First token of the chunk among those of a source. */
  first(source: number): number {
    return this.#chunk(source).start;
  }

  #single(source: number): number[][] {
    let lists = this.#byExpert.get(source);
    if (lists !== undefined) return lists;
    lists = Array.from({ length: this.#routing.experts }, () => []);
    const { start, end, ids, topK } = this.#chunk(source);
    for (let token = start; token < end; token++)
      for (let pick = token * topK; pick < (token + 1) * topK; pick++) if (ids[pick] >= 0) lists[ids[pick]].push(token);
    this.#byExpert.set(source, lists);
    return lists;
  }

  #chunk(source: number): { start: number; end: number; ids: Int32Array; topK: number } {
    const { chunk, of } = this.#part;
    const { ids, topK } = this.#known(source);
    const tokens = ids.length / topK;
    return { start: chunkStart(tokens, chunk, of), end: chunkStart(tokens, chunk + 1, of), ids, topK };
  }

  #known(source: number): { ids: Int32Array; topK: number } {
    const picks = this.#routing.picks(source);
    if (picks === undefined) throw new Error(`the picks of source ${source} are not known`);
    return picks;
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

/** Throws when a fine row has no coarse row, unless the pairs are partial. */
export function rowMoves({ pairs, part, at, routing, firstPick }: MoveRequest): RowMoves {
  const lists = new TokenLists(routing, part);
  const fineBlocks = placed(pairs.fine, at, part, routing);
  const coarse = new Map<number, PlacedBlock[]>();
  for (const one of placed(pairs.coarse, at, part, routing)) {
    const known = coarse.get(one.block.source);
    if (known === undefined) coarse.set(one.block.source, [one]);
    else known.push(one);
  }
  const total = fineBlocks.reduce((sum, { rows }) => sum + rows, 0);
  const moves = { fine: new Int32Array(total), coarse: new Int32Array(total), picks: new Int32Array(total).fill(-1) };
  const rowOf = rowFinder(lists);
  let count = 0;
  for (const { block, first, rows } of fineBlocks) {
    if (rows === 0) continue;
    const from = coarse.get(block.source)?.find((one) => holds(one.block, block));
    if (from === undefined) {
      if (pairs.partial === true) continue;
      throw new Error(`rows of source ${block.source} are asked for, and ${pairs.coarse.layout.name} has none`);
    }
    const alike = same(from.block, block);
    const single = firstPick !== undefined && block.every !== true && block.end - block.start === 1;
    const tokens = alike && !single ? undefined : lists.of(block);
    for (let i = 0; i < rows; i++, count++) {
      moves.fine[count] = first + i;
      moves.coarse[count] = from.first + (alike || tokens === undefined ? i : rowOf(from.block, tokens[i]));
      if (single && tokens !== undefined)
        moves.picks[count] = firstPick(block.source) + lists.pick(block.source, tokens[i], block.start);
    }
  }
  return {
    fine: moves.fine.subarray(0, count),
    coarse: moves.coarse.subarray(0, count),
    picks: moves.picks.subarray(0, count),
  };
}

/** Finds the place of a token's row in a block's chunk. */
function rowFinder(lists: TokenLists): (block: RowBlock, token: number) => number {
  const known = new Map<RowBlock, Map<number, number>>();
  return (block, token) => {
    if (block.every === true) return token - lists.first(block.source);
    let places = known.get(block);
    if (places === undefined) known.set(block, (places = new Map(lists.of(block).map((one, place) => [one, place]))));
    const place = places.get(token);
    if (place === undefined) throw new Error(`token ${token} of source ${block.source} is not in its block`);
    return place;
  };
}
