/**
 * A bound on the rows of an expert: picks past it are dropped, those with the smallest gate probability first
 * (Megatron-Core's drop policy `probs`). A dropped pick has no row and no weight; the weights of the others stay as
 * they are.
 */
import type { RouterShape } from './router.js';

/** ceil(capacityFactor * k * tokens / experts): rows per expert from `tokens` tokens. */
export function expertCapacity(capacityFactor: number, tokens: number, picks: number, experts: number): number {
  return Math.ceil((capacityFactor * picks * tokens) / experts);
}

/**
 * kept[pick] (tokens x picks) becomes 1 or 0. Ranked within each expert by the softmax probability, before
 * renormalising, ties by position. Sets weights of dropped picks to 0. Returns the number dropped.
 */
export function dropByProbability({
  shape,
  capacity,
  probabilities,
  ids,
  kept,
  weights,
}: {
  readonly shape: RouterShape;
  readonly capacity: number;
  readonly probabilities: Float32Array;
  readonly ids: Int32Array;
  readonly kept: Uint8Array;
  readonly weights: Float32Array;
}): number {
  const { tokens, experts, picks } = shape;
  const ofExpert: number[][] = Array.from({ length: experts }, () => []);
  for (let pick = 0; pick < tokens * picks; pick++) ofExpert[ids[pick]]?.push(pick);
  const gate = (pick: number): number => probabilities[Math.floor(pick / picks) * experts + ids[pick]];
  kept.fill(1, 0, tokens * picks);
  let dropped = 0;
  for (const candidates of ofExpert) {
    if (candidates.length <= capacity) continue;
    candidates.sort((a, b) => gate(b) - gate(a) || a - b);
    for (const pick of candidates.slice(capacity)) {
      kept[pick] = 0;
      weights[pick] = 0;
      dropped++;
    }
  }
  return dropped;
}

/** Ids with the mark of dropped picks (~id) taken off. */
export function pickedIds(encoded: Int32Array): Int32Array {
  const ids = new Int32Array(encoded.length);
  for (let pick = 0; pick < ids.length; pick++) ids[pick] = encoded[pick] < 0 ? ~encoded[pick] : encoded[pick];
  return ids;
}
