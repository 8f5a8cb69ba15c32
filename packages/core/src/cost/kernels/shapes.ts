/** Kernels of the schedule as shapes, once their rows are known. */
import type { AttentionPart, ProductPart, WorkPart } from '../../schedule/work.js';
import type { GemmShape, GroupedShape, KernelShape } from './features.js';

/** What a kernel's parts come to on so many rows. */
export const kernelShapes = (parts: readonly WorkPart[], rows: number): KernelShape[] =>
  parts.flatMap((part) => ('heads' in part ? attentionShapes(part, rows) : [shapeOf(part, rows)]));

/** Where a share of the layers has a window, that share of the heads: time is linear in heads, but for a call. */
function attentionShapes({ windowed, ...part }: AttentionPart, rows: number): KernelShape[] {
  const whole = { ...part, batch: rows / part.sequence };
  if (windowed === undefined) return [whole];
  const { tokens, share } = windowed;
  const split = [
    { ...whole, heads: part.heads * share, window: tokens },
    { ...whole, heads: part.heads * (1 - share) },
  ];
  return split.filter(({ heads }) => heads > 0);
}

/** One of a grouped product's products, over its even share of the rows: what a loop over the experts calls. */
export function productOfGroup({ rows, columns, depth, groups, gradient }: GroupedShape): GemmShape {
  const own = rows / groups;
  return gradient
    ? { kind: 'gemm', rows: columns, columns: depth, depth: own, gradient }
    : { kind: 'gemm', rows: own, columns, depth };
}

function shapeOf(part: Exclude<WorkPart, AttentionPart>, rows: number): KernelShape {
  if (part.kind === 'product') return productShape(part, rows);
  return { kind: part.kind, bytes: rows * part.bytesPerRow };
}

function productShape({ columns, depth, groups, gradient }: ProductPart, rows: number): KernelShape {
  const added = gradient ? { gradient } : {};
  if (groups !== undefined) return { kind: 'grouped', groups, rows, columns, depth, ...added };
  return gradient
    ? { kind: 'gemm', rows: columns, columns: depth, depth: rows, gradient }
    : { kind: 'gemm', rows, columns, depth };
}
