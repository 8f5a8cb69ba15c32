/**
 * Launches of kernels/norm.cu for a norm over rows of which this rank holds some columns: see
 * `transformer/split-norm.ts`.
 */
import type { SplitNormShape } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import type { Launcher } from './launcher.js';
import { columnSum, rowBlocks } from './norm.js';

const threads = 256;

const shareOf = ({ share, fullWidth }: SplitNormShape): number => share / fullWidth;

/** squares [rows], fp32. */
export function cudaSplitNormSquares(
  on: Launcher,
  { rows, width }: SplitNormShape,
  x: Address,
  squares: Address,
): void {
  on.launch('norm', 'split_norm_squares', { blocks: rows, threads }, { x, squares, width });
}

/** y, of squares that are summed over the ranks. */
export function cudaSplitNormApply(
  on: Launcher,
  shape: SplitNormShape,
  arrays: { readonly x: Address; readonly weight: Address; readonly squares: Address; readonly y: Address },
): void {
  const { rows, width, epsilon } = shape;
  const parameters = { width, share: shareOf(shape), epsilon, ...arrays };
  on.launch('norm', 'split_norm_apply', { blocks: rows, threads }, parameters);
}

/** dots [rows], fp32. */
export function cudaSplitNormDot(
  on: Launcher,
  { rows, width }: SplitNormShape,
  arrays: { readonly x: Address; readonly weight: Address; readonly dy: Address; readonly dots: Address },
): void {
  on.launch('norm', 'split_norm_dot', { blocks: rows, threads }, { width, ...arrays });
}

/**
 * dx in the place of dy, of dots that are summed over the ranks; dweight (fp32) += its gradient. scratch:
 * `normScratch`.
 */
export function cudaSplitNormBackward(
  on: Launcher,
  shape: SplitNormShape,
  arrays: {
    readonly x: Address;
    readonly weight: Address;
    readonly squares: Address;
    readonly dots: Address;
    readonly dy: Address;
    readonly dweight: Address;
    readonly scratch: Address;
  },
): void {
  const { rows, width, epsilon } = shape;
  const { dweight, scratch: partial, dy, ...rest } = arrays;
  const { blocks, rowsPerBlock } = rowBlocks(shape);
  const numbers = { rows, width, rowsPerBlock, share: shareOf(shape), epsilon };
  on.launch('norm', 'split_norm_backward', { blocks, threads }, { dy, dx: dy, partial, ...rest, ...numbers });
  columnSum(on, { rows: blocks, width }, partial, dweight);
}
