/** Pairs of fine and coarse rows on the card: listed there from the group's picks where these are known, or brought. */
import { countingSort, maxOf } from '@monta/core/units';
import type { ChunkTokens, GroupPicks, PlannedMoves } from '../../../rows/planned-moves.js';
import type { PlacedBlock } from '../../../rows/row-moves.js';
import { elementBytes } from '../../view.js';
import type { Address } from '../bindings/index.js';
import type { CudaKernelCall } from './call.js';
import { keep } from './pick-orders.js';

type Call = CudaKernelCall<never, unknown>;

/** int32 arrays, an element a pair. */
export interface CardPairs {
  readonly fine: Address;
  readonly coarse: Address;
  /** -1 where a row serves several experts. */
  readonly picks: Address;
  readonly count: number;
}

/** Pairs by coarse row: those of row r stand from starts[r] on. */
export interface SortedPairs {
  readonly starts: Address;
  readonly fine: Address;
  readonly picks: Address;
}

/** pairs.cu's `threads`. */
const threads = 1024;
const smallThreads = 256;
/** A range that every token has a pick in, kept or dropped. */
const everyExpert = [-(2 ** 31), 2 ** 31 - 1] as const;

const known = new WeakMap<GroupPicks, Address>();

/** The group's picks, kept until the layer is over; whoever uses them comes after the pass that was first. */
function picksOnCard(call: Call, group: GroupPicks): Address {
  const before = known.get(group);
  if (before !== undefined) return before;
  const made = keep(call, group, group.ids.length);
  known.set(group, made);
  group.whenOver(() => known.delete(group));
  call.copy(made, group.ids);
  return made;
}

/** Blocks as pairs.cu reads them, and the most tokens of a coarse one. */
interface BlockWords {
  readonly fine: Int32Array;
  readonly coarse: Int32Array;
  readonly room: number;
}

const [fineWords, coarseWords] = [8, 4];
/** Plans are asked for again by the launches that follow them. */
const described = new WeakMap<PlannedMoves, BlockWords>();

function describe(moves: PlannedMoves): BlockWords {
  const { blocks } = moves;
  const places = new Map<PlacedBlock, number>();
  for (const { coarse, alike } of blocks) if (!alike && !places.has(coarse)) places.set(coarse, places.size);
  const chunks = new Map<number, ChunkTokens>();
  const chunkOf = (source: number): ChunkTokens => {
    const chunk = chunks.get(source) ?? moves.chunkOf(source);
    chunks.set(source, chunk);
    return chunk;
  };
  const put = (words: Int32Array, at: number, { block }: PlacedBlock): void => {
    const { firstPick, tokens } = chunkOf(block.source);
    words[at] = firstPick;
    words[at + 1] = tokens;
    words[at + 2] = block.every === true ? everyExpert[0] : block.start;
    words[at + 3] = block.every === true ? everyExpert[1] : block.end;
  };
  const coarse = new Int32Array(coarseWords * places.size);
  for (const [block, place] of places) put(coarse, coarseWords * place, block);
  const fine = new Int32Array(fineWords * blocks.length);
  for (const [place, one] of blocks.entries()) {
    const at = fineWords * place;
    put(fine, at, one.fine);
    fine[at + 4] = one.fine.first;
    fine[at + 5] = one.coarse.first;
    fine[at + 6] = one.alike ? -1 : (places.get(one.coarse) ?? -1);
    fine[at + 7] = one.before;
  }
  const room = maxOf([1, ...[...chunks.values()].map(({ tokens }) => tokens)]);
  return { fine, coarse, room };
}

export function pairsOnCard(call: Call, moves: PlannedMoves): CardPairs {
  const { group, count } = moves;
  if (group === undefined)
    return { fine: call.upload(moves.fine), coarse: call.upload(moves.coarse), picks: call.upload(moves.picks), count };
  const words = described.get(moves) ?? describe(moves);
  described.set(moves, words);
  const { room } = words;
  const [fineBlocks, coarseBlocks] = [words.fine.length / fineWords, words.coarse.length / coarseWords];
  const listed = { fine: call.scratch(count), coarse: call.scratch(count), picks: call.scratch(count) };
  const shared = { ids: picksOnCard(call, group), places: call.scratch(room * coarseBlocks), picks: group.picks, room };
  if (coarseBlocks > 0) {
    const blocks = call.upload(words.coarse);
    call.on.launch('pairs', 'place_tokens', { blocks: coarseBlocks, threads }, { blocks, ...shared });
  }
  const blocks = call.upload(words.fine);
  const to = { fine: listed.fine, coarse: listed.coarse, pick: listed.picks };
  call.on.launch('pairs', 'list_pairs', { blocks: fineBlocks, threads }, { blocks, ...to, ...shared });
  return { ...listed, count };
}

/** rows: coarse ones. Pairs of a row keep their order. */
export function sortedPairs(call: Call, moves: PlannedMoves, rows: number): SortedPairs {
  if (moves.group === undefined) {
    const { starts, order } = countingSort(moves.coarse, rows);
    const sorted = (values: Int32Array): Address => call.upload(order.map((pair) => values[pair]));
    return { starts: call.upload(starts), fine: sorted(moves.fine), picks: sorted(moves.picks) };
  }
  const { fine, coarse, picks, count } = pairsOnCard(call, moves);
  const [counts, starts, order] = [call.scratch(rows), call.scratch(rows + 1), call.scratch(count)];
  const sorted = { starts, fine: call.scratch(count), picks: call.scratch(count) };
  const grid = (threadsWanted: number) => ({ blocks: Math.ceil(threadsWanted / smallThreads), threads: smallThreads });
  call.context.libraries.runtime.cudaMemsetAsync(counts, 0, rows * elementBytes.i32, call.stream);
  call.on.launch('pairs', 'count_pairs', grid(count), { coarse, counts, count });
  call.on.launch('pairs', 'start_pairs', { blocks: 1, threads }, { counts, starts, rows });
  call.on.launch('pairs', 'gather_pairs', grid(count), { coarse, starts, counts, order, count });
  const to = { fineRow: sorted.fine, sortedPick: sorted.picks };
  call.on.launch('pairs', 'sort_pairs', grid(rows), { starts, order, fine, pick: picks, rows, ...to });
  return sorted;
}
