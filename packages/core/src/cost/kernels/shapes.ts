/** Kernels of the schedule as shapes, once their rows are known. */
import type { ProductPart, WorkPart } from '../../schedule/work.js';
import type { GemmShape, GroupedShape, KernelShape } from './features.js';

/** What a kernel's parts come to on so many rows. */
export const kernelShapes = (parts: readonly WorkPart[], rows: number): KernelShape[] =>
  parts.map((part) => shapeOf(part, rows));

/** One of a grouped product's products, over its even share of the rows: what a loop over the experts calls. */
export function productOfGroup({ rows, columns, depth, groups, gradient }: GroupedShape): GemmShape {
  const own = rows / groups;
  return gradient
    ? { kind: 'gemm', rows: columns, columns: depth, depth: own, gradient }
    : { kind: 'gemm', rows: own, columns, depth };
}

function shapeOf(part: WorkPart, rows: number): KernelShape {
  if (part.kind === 'product') return productShape(part, rows);
  if ('heads' in part) return { ...part, batch: rows / part.sequence };
  return { kind: part.kind, bytes: rows * part.bytesPerRow };
}

function productShape({ columns, depth, groups, gradient }: ProductPart, rows: number): KernelShape {
  const added = gradient ? { gradient } : {};
  if (groups !== undefined) return { kind: 'grouped', groups, rows, columns, depth, ...added };
  return gradient
    ? { kind: 'gemm', rows: columns, columns: depth, depth: rows, gradient }
    : { kind: 'gemm', rows, columns, depth };
}
