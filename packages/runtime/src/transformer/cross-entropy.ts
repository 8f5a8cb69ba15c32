/**
 * Cross entropy over a vocabulary that is split over TP ranks; with one rank it is the ordinary one. In pieces, between
 * which the caller reduces over the ranks:
 *
 *   crossEntropyMax -> all_reduce max -> crossEntropySums -> all_reduce sum -> crossEntropyLoss, crossEntropyGrad
 */
import type { VocabularyShare } from './embedding.js';
import { exponential } from './exponential.js';

/** A target that takes no part in the loss. */
export const ignoredLabel = -100;

/**
 * targets[b, s] = labels[b, s + 1], and `ignoredLabel` at the end of each sequence: Hugging Face's shift. Returns how
 * many count.
 */
export function shiftLabels(labels: Int32Array, batch: number, sequence: number, targets: Int32Array): number {
  let counted = 0;
  for (let row = 0; row < batch * sequence; row++) {
    const last = row % sequence === sequence - 1;
    const target = last ? ignoredLabel : labels[row + 1];
    targets[row] = target;
    if (target !== ignoredLabel) counted++;
  }
  return counted;
}

/** largest[row] over this rank's logits [rows, share.count]. */
export function crossEntropyMax(
  share: VocabularyShare,
  rows: number,
  logits: Float32Array,
  largest: Float32Array,
): void {
  for (let row = 0; row < rows; row++) {
    let value = -Infinity;
    for (let i = row * share.count; i < (row + 1) * share.count; i++) value = Math.max(value, logits[i]);
    largest[row] = value;
  }
}

/**
 * sums [2, rows]: the sum of exp(logit - largest) of this rank's columns, then the target's logit - largest where it is
 * held here, else 0.
 */
export function crossEntropySums({
  share,
  rows,
  logits,
  targets,
  largest,
  sums,
}: {
  readonly share: VocabularyShare;
  readonly rows: number;
  readonly logits: Float32Array;
  readonly targets: Int32Array;
  readonly largest: Float32Array;
  readonly sums: Float32Array;
}): void {
  const { first, count } = share;
  for (let row = 0; row < rows; row++) {
    const shift = largest[row];
    let sum = 0;
    for (let i = row * count; i < (row + 1) * count; i++) sum += exponential(logits[i] - shift);
    sums[row] = sum;
    const column = targets[row] - first;
    const held = column >= 0 && column < count;
    sums[rows + row] = held ? logits[row * count + column] - shift : 0;
  }
}

/**
 * Sum of the losses of rows whose target counts, nats; divide by their number for the mean. sums: reduced over ranks.
 */
export function crossEntropyLoss(rows: number, targets: Int32Array, sums: Float32Array): number {
  let total = 0;
  for (let row = 0; row < rows; row++)
    if (targets[row] !== ignoredLabel) total += Math.log(sums[row]) - sums[rows + row];
  return total;
}

/**
 * dlogits = scale * (softmax - onehot(target)) for this rank's columns, 0 in rows that don't count; may be logits
 * itself.
 */
export function crossEntropyGrad({
  share,
  rows,
  logits,
  targets,
  largest,
  sums,
  scale,
  dlogits,
}: {
  readonly share: VocabularyShare;
  readonly rows: number;
  readonly logits: Float32Array;
  readonly targets: Int32Array;
  readonly largest: Float32Array;
  readonly sums: Float32Array;
  readonly scale: number;
  readonly dlogits: Float32Array;
}): void {
  const { first, count } = share;
  for (let row = 0; row < rows; row++) {
    const from = row * count;
    const target = targets[row];
    if (target === ignoredLabel) {
      dlogits.fill(0, from, from + count);
      continue;
    }
    const shift = largest[row];
    const factor = scale / sums[row];
    for (let i = from; i < from + count; i++) dlogits[i] = exponential(logits[i] - shift) * factor;
    const column = target - first;
    if (column >= 0 && column < count) dlogits[from + column] = dlogits[from + column] - scale;
  }
}
