/** Launches of kernels/rope.cu, embedding.cu and cross-entropy.cu. */
import type { VocabularyShare } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import type { Launcher } from './launcher.js';

const threads = 256;
const lossThreads = 1024;

/**
 * Rotates x in place: rows x heads x stride, of which `half` pairs from `offset` on turn. cosine, sine: fp32, positions
 * x half.
 */
export function cudaRope(
  on: Launcher,
  shape: {
    readonly rows: number;
    readonly heads: number;
    readonly sequence: number;
    readonly half: number;
    readonly stride?: number;
    readonly offset?: number;
    readonly interleaved?: boolean | undefined;
  },
  arrays: { readonly x: Address; readonly cosine: Address; readonly sine: Address },
  direction: 1 | -1,
): void {
  const { rows, heads, sequence, half, stride = 2 * half, offset = 0, interleaved = false } = shape;
  const pairs = rows * heads * half;
  const grid = { blocks: Math.ceil(pairs / threads), threads };
  const numbers = { pairs, heads, sequence, half, stride, offset, interleaved: Number(interleaved) };
  on.launch('rope', 'rope', grid, { direction, ...arrays, ...numbers });
}

/** out [tokens, hidden]: the weight's rows of the ids held here, zeros for others. */
export function cudaEmbeddingForward(
  on: Launcher,
  { first, count, tokens, hidden }: VocabularyShare & { readonly tokens: number; readonly hidden: number },
  arrays: { readonly ids: Address; readonly weight: Address; readonly out: Address },
): void {
  const grid = { blocks: tokens, threads: on.rowThreads(hidden) };
  on.launch('embedding', 'embedding_forward', grid, { first, count, hidden, ...arrays });
}

/** dweight (fp32) += dout, in token order. */
export function cudaEmbeddingBackward(
  on: Launcher,
  shape: VocabularyShare & { readonly tokens: number; readonly hidden: number; readonly paddingId?: number },
  arrays: { readonly ids: Address; readonly dout: Address; readonly dweight: Address },
): void {
  const { paddingId: padding = -1, tokens: blocks } = shape;
  const { first, count, tokens, hidden } = shape;
  const parameters = { first, count, padding, tokens, hidden, ...arrays };
  on.launch('embedding', 'embedding_backward', { blocks, threads }, parameters);
}

export interface LossShape extends VocabularyShare {
  readonly rows: number;
}

/** largest [rows], fp32. */
export function cudaCrossEntropyMax(on: Launcher, { rows, count }: LossShape, logits: Address, largest: Address): void {
  on.launch('cross-entropy', 'cross_entropy_max', { blocks: rows, threads }, { logits, largest, count });
}

/** sums [2, rows], fp32. */
export function cudaCrossEntropySums(
  on: Launcher,
  { rows, first, count }: LossShape,
  arrays: { readonly logits: Address; readonly targets: Address; readonly largest: Address; readonly sums: Address },
): void {
  on.launch('cross-entropy', 'cross_entropy_sums', { blocks: rows, threads }, { rows, first, count, ...arrays });
}

/** *total (fp64) = the sum of the losses, or more with `add`. */
export function cudaCrossEntropyLoss(
  on: Launcher,
  rows: number,
  arrays: { readonly targets: Address; readonly sums: Address; readonly total: Address },
  add = false,
): void {
  const parameters = { rows, add: Number(add), ...arrays };
  on.launch('cross-entropy', 'cross_entropy_loss', { blocks: 1, threads: lossThreads }, parameters);
}

/** dlogits = scale * (softmax - onehot); may be logits. */
export function cudaCrossEntropyGradient(
  on: Launcher,
  { rows, first, count }: LossShape,
  arrays: {
    readonly logits: Address;
    readonly targets: Address;
    readonly largest: Address;
    readonly sums: Address;
    readonly dlogits: Address;
  },
  scale: number,
): void {
  const parameters = { first, count, scale, ...arrays };
  on.launch('cross-entropy', 'cross_entropy_gradient', { blocks: rows, threads }, parameters);
}
