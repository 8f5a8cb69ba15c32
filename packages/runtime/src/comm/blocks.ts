/** How the elements of a collective are shared out in blocks, one a member. */
import { at } from './at.js';

/** First element of each block, for blocks that lie one after another. */
export function starts(counts: Int32Array): Int32Array {
  const result = new Int32Array(counts.length);
  for (let i = 1; i < counts.length; i++) result[i] = at(result, i - 1) + at(counts, i - 1);
  return result;
}

/**
 * How an all_reduce of `elements` is shared out: the block that each member sums. Blocks start at multiples of 16
 * elements, so that copies stay aligned.
 */
export function reductionBlocks(elements: number, members: number): Int32Array {
  const block = Math.ceil(elements / members / 16) * 16;
  return Int32Array.from({ length: members }, (_, j) => Math.max(0, Math.min(block, elements - j * block)));
}
