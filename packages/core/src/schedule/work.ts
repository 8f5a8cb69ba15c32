/**
 * What kernels cost: FLOPs and bytes for whoever prices by rates that were measured of each kernel, and the shapes of
 * what runs one after the other for whoever prices by shape.
 */
import type { Size } from './rows.js';

/**
 * Kernels bound by memory: copy one tensor; add two into one; rows gathered by index; norm and gated activation fused;
 * softmax with top-k or cross-entropy; AdamW.
 */
export const memoryKinds = ['copy', 'add', 'gather', 'norm', 'activation', 'loss', 'update'] as const;
export type MemoryKind = (typeof memoryKinds)[number];

/** Gradients of weights: added to what is there, in f32, or written once in the type of the products' operands. */
export type GradientStore = 'added' | 'written';

/**
 * The kernel's R rows x `depth` times `depth` x `columns`; or, with `gradient`, the product over those rows: `columns`
 * x R times R x `depth`, as `GradientStore` says. With `groups` one call makes one such product an expert, over which
 * the R rows are spread.
 */
export interface ProductPart {
  readonly kind: 'product';
  readonly columns: number;
  readonly depth: number;
  readonly groups?: number;
  readonly gradient?: GradientStore;
}

/**
 * Causal attention of whole sequences, forward or backward, over the heads of one rank. Key and value heads are not
 * told: what was timed takes as long with fewer of them.
 */
export interface AttentionPart {
  readonly kind: 'attention' | 'attentionBackward';
  readonly heads: number;
  readonly sequence: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /**
   * Tokens that a query sees at most, itself included, in a share of the layers: one template serves all, and costs
   * their mean.
   */
  readonly windowed?: { readonly tokens: number; readonly share: number };
}

/** Keys that a token of a sequence sees on average: all before it and itself, or at most those of a window. */
function meanSeen(sequence: number, window = sequence): number {
  const most = Math.min(window, sequence);
  return most - (most * (most - 1)) / (2 * sequence);
}

/** The same over all layers, of which some have a window. */
export function meanSeenOf({ sequence, windowed }: Pick<AttentionPart, 'sequence' | 'windowed'>): number {
  if (windowed === undefined) return meanSeen(sequence);
  const { tokens, share } = windowed;
  return share * meanSeen(sequence, tokens) + (1 - share) * meanSeen(sequence);
}

export interface MemoryPart {
  readonly kind: MemoryKind;
  /** Read and written. */
  readonly bytesPerRow: number;
}

export type WorkPart = ProductPart | AttentionPart | MemoryPart;

/** What a kernel costs on `rows` rows (chunk `chunk` of `of` of them). */
export interface Work {
  /** gemm and attention run at matrix rates, memory is bound by bandwidth. */
  readonly kind: 'gemm' | 'attention' | 'memory';
  readonly rows: Size;
  readonly chunk: number;
  readonly of: number;
  readonly flopsPerRow: number;
  readonly bytesPerRow: number;
  /** Bytes that do not depend on the rows, as weights read once. */
  readonly fixedBytes: number;
  /** What runs one after the other. */
  readonly parts: readonly WorkPart[];
}

/** Which rows: chunk 0 of 1 when left out. */
type Rows = Pick<Work, 'rows'> & Partial<Pick<Work, 'chunk' | 'of'>>;

/** Work at matrix rates. */
export const matrixWork = (
  work: Rows & Pick<Work, 'flopsPerRow' | 'bytesPerRow' | 'parts'> & Partial<Pick<Work, 'kind' | 'fixedBytes'>>,
): Work => ({ kind: 'gemm', chunk: 0, of: 1, fixedBytes: 0, ...work });

/** Work bound by memory: so many bytes a row. */
export const memoryWork = (kind: MemoryKind, bytesPerRow: number, rows: Rows): Work => ({
  kind: 'memory',
  chunk: 0,
  of: 1,
  flopsPerRow: 0,
  bytesPerRow,
  fixedBytes: 0,
  parts: [{ kind, bytesPerRow }],
  ...rows,
});

/** A gated feed-forward, of one matrix each or of one an expert. */
export interface FeedForward {
  readonly hiddenSize: number;
  /** Width of gate and of up, on this rank. */
  readonly ffn: number;
  readonly groups?: number;
  readonly elementBytes: number;
  /** `added` when left out. */
  readonly gradients?: GradientStore;
}

const product = ({ groups }: FeedForward, columns: number, depth: number): ProductPart => ({
  kind: 'product',
  columns,
  depth,
  ...(groups === undefined ? {} : { groups }),
});

/** Gate and up in one product, their gated product, down. */
export const feedForwardParts = (f: FeedForward): WorkPart[] => [
  product(f, 2 * f.ffn, f.hiddenSize),
  { kind: 'activation', bytesPerRow: 3 * f.ffn * f.elementBytes },
  product(f, f.hiddenSize, f.ffn),
];

/**
 * The input's gradient: through down, the activation (gate and up read, their gradients and the activated rows
 * written), gate and up.
 */
export const inputGradientParts = (f: FeedForward): WorkPart[] => [
  product(f, f.ffn, f.hiddenSize),
  { kind: 'activation', bytesPerRow: 6 * f.ffn * f.elementBytes },
  product(f, f.hiddenSize, 2 * f.ffn),
];

/** The gradients of gate and up, and of down. */
export const weightGradientParts = (f: FeedForward): WorkPart[] => [
  { ...product(f, 2 * f.ffn, f.hiddenSize), gradient: f.gradients ?? 'added' },
  { ...product(f, f.hiddenSize, f.ffn), gradient: f.gradients ?? 'added' },
];
