/** Launches of kernels/norm.cu. */
import type { NormShape } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import type { Launcher } from './launcher.js';

/** Blocks of the backward: each leaves one partial gradient of the weights. */
const mostBlocks = 264;
const columnThreads = 128;

/** y = weight * x / rms; x, y, weight in the storage type, inverseRms fp32 by row. */
export function cudaNormForward(
  on: Launcher,
  { rows, width, epsilon }: NormShape,
  arrays: { readonly x: Address; readonly weight: Address; readonly y: Address; readonly inverseRms: Address },
): void {
  on.launch('norm', 'rms_norm_forward', { blocks: rows, threads: on.rowThreads(width) }, { width, epsilon, ...arrays });
}

/** How the backward's blocks share rows. */
export function rowBlocks({ rows }: Pick<NormShape, 'rows'>): {
  readonly blocks: number;
  readonly rowsPerBlock: number;
} {
  const rowsPerBlock = Math.max(1, Math.ceil(rows / mostBlocks));
  return { blocks: Math.ceil(rows / rowsPerBlock), rowsPerBlock };
}

/** fp32 elements of the backward's scratch. */
export function normScratch(shape: Pick<NormShape, 'rows' | 'width'>): number {
  return rowBlocks(shape).blocks * shape.width;
}

/** dx (added to with addDx), and dweight (fp32) += its gradient. */
export function cudaNormBackward(
  on: Launcher,
  shape: NormShape,
  arrays: {
    readonly x: Address;
    readonly weight: Address;
    readonly inverseRms: Address;
    readonly dy: Address;
    readonly dx: Address;
    readonly dweight: Address;
    readonly scratch: Address;
    readonly addDx?: boolean;
  },
): void {
  const { rows, width } = shape;
  const { dweight, scratch: partial, addDx = false, ...rest } = arrays;
  const { blocks, rowsPerBlock } = rowBlocks(shape);
  const grid = { blocks, threads: on.rowThreads(width), sharedBytes: 4 * width };
  on.launch('norm', 'rms_norm_backward', grid, { partial, rows, width, rowsPerBlock, addDx: Number(addDx), ...rest });
  columnSum(on, { rows: blocks, width }, partial, dweight);
}

/** out += the sum of `partial`'s rows, top to bottom. */
export function columnSum(
  on: Launcher,
  { rows, width }: { readonly rows: number; readonly width: number },
  partial: Address,
  out: Address,
): void {
  const columns = { blocks: Math.ceil(width / columnThreads), threads: columnThreads };
  on.launch('norm', 'column_sum', columns, { partial, out, rows, width, add: 1 });
}
