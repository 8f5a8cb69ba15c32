/**
 * What decides a kernel's time: amounts of work by kind and shape. A kernel's seconds are a sum of coefficients times
 * these amounts, so that coefficients can be fitted, and carried to another device by the ratio of the resource that
 * each amount occupies.
 */

import type { GradientStore, MemoryKind } from '../../schedule/work.js';

/** One matrix product of `rows` x `depth` by `depth` x `columns`, or `batch` of them in one call. */
export interface GemmShape {
  readonly kind: 'gemm';
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** The result is gradients of weights. */
  readonly gradient?: GradientStore;
  /** 1 when left out. */
  readonly batch?: number;
}

/**
 * A product for each of `groups` experts in one call; `rows` are those of all of them. With `gradient`, one over its
 * rows for each: see `ProductPart`.
 */
export interface GroupedShape extends Omit<GemmShape, 'kind' | 'batch'> {
  readonly kind: 'grouped';
  readonly groups: number;
}

/** Causal attention over whole sequences; heads of one rank. */
export interface AttentionShape {
  readonly kind: 'attention' | 'attentionBackward';
  readonly batch: number;
  readonly heads: number;
  readonly sequence: number;
  /** Head size of queries and keys, and of values. */
  readonly keyDim: number;
  readonly valueDim: number;
  /** Tokens that a query sees at most, itself included; all before it when left out. */
  readonly window?: number;
}

export interface MemoryShape {
  readonly kind: MemoryKind;
  /** Read and written. */
  readonly bytes: number;
}

export type KernelShape = GemmShape | GroupedShape | AttentionShape | MemoryShape;
export type KernelKind = KernelShape['kind'];

/** What an amount occupies, hence how its coefficient is carried to another device. */
export type KernelResource = 'call' | 'compute' | 'memory' | 'multiprocessor';

export interface Amount {
  readonly resource: KernelResource;
  /** In calls, 1e12 FLOPs, GB, or 1e6 elements. */
  readonly of: number;
}

/** A tile of a matrix product that one multiprocessor works on at a time (CUTLASS's on Hopper). */
const [tileRows, tileColumns] = [128, 256];

const elementBytes = 2;
/** Read and written in f32 in place of written in bf16. */
const addedBytes = 2 * 4 - elementBytes;
/** Bytes of a product's operands and result in bf16 (`results` elements in f32 where they are added to), GB. */
const productBytes = (groups: number, results: number, { rows, columns, depth, gradient }: Omit<GemmShape, 'kind'>) =>
  (elementBytes * (groups * columns * depth + rows * (columns + depth)) +
    (gradient === 'added' ? addedBytes * results : 0)) /
  1e9;

/**
 * FLOPs of causal attention, counted over the keys that a token sees: two products forward, five backward (Dao et al.,
 * FlashAttention-2, arXiv 2307.08691).
 */
export function attentionFlops(shape: AttentionShape): number {
  const { kind, batch, heads, sequence, keyDim, valueDim } = shape;
  const widths = kind === 'attention' ? keyDim + valueDim : 3 * keyDim + 2 * valueDim;
  const seen = mostSeen(shape);
  return batch * heads * (2 * sequence * seen - seen * (seen - 1)) * widths;
}

/** Keys that the last token sees. */
const mostSeen = ({ sequence, window = sequence }: AttentionShape): number => Math.min(window, sequence);

/**
 * The amounts of a kernel on a device of so many multiprocessors.
 *   gemm: one call, FLOPs, waves of tiles over the multiprocessors (a last wave that is not full takes as long), bytes
 *   grouped: one call, FLOPs, bytes, the weights of all experts among them
 *   attention: one call, FLOPs, elements of all query rows (softmax, loads, the masked half of diagonal tiles), and of
 *     the longest row of one head (the last block of queries is nobody's to share). Nothing with a window was timed:
 *     its FLOPs are those of the keys seen
 *   memory: bytes
 */
export function amounts(shape: KernelShape, multiprocessors: number): Amount[] {
  switch (shape.kind) {
    case 'gemm': {
      const { rows, columns, depth, batch = 1 } = shape;
      const tiles = batch * Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns);
      return [
        { resource: 'call', of: 1 },
        { resource: 'compute', of: (2 * batch * rows * columns * depth) / 1e12 },
        { resource: 'call', of: Math.ceil(tiles / multiprocessors) },
        { resource: 'memory', of: batch * productBytes(1, rows * columns, shape) },
      ];
    }
    case 'grouped':
      return [
        { resource: 'call', of: 1 },
        { resource: 'compute', of: (2 * shape.rows * shape.columns * shape.depth) / 1e12 },
        {
          resource: 'memory',
          of: productBytes(shape.groups, shape.groups * shape.columns * shape.depth, shape),
        },
      ];
    case 'attention':
    case 'attentionBackward': {
      const { batch, heads, sequence, keyDim, valueDim } = shape;
      const row = (sequence * (keyDim + valueDim)) / 1e6;
      return [
        { resource: 'call', of: 1 },
        { resource: 'compute', of: attentionFlops(shape) / 1e12 },
        { resource: 'compute', of: batch * heads * row },
        { resource: 'multiprocessor', of: (row * mostSeen(shape)) / sequence },
      ];
    }
    case 'copy':
    case 'add':
    case 'gather':
    case 'norm':
    case 'activation':
    case 'loss':
    case 'update':
      return [{ resource: 'memory', of: shape.bytes / 1e9 }];
  }
}
