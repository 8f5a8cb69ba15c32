/** Launches of kernels/rows.cu: biases, factors and sums of rows of matrices; and moves of columns. */
import { cuda, type Address, type RuntimeLibrary } from '../bindings/index.js';
import { nullAddress, type Launcher } from './launcher.js';
import { columnSum, rowBlocks } from './norm.js';

export interface Matrix {
  readonly rows: number;
  readonly width: number;
}

const threads = 256;
/** Blocks that walk an array. */
const walkers = 4096;

const walk = (count: number) => ({ blocks: Math.min(walkers, Math.ceil(count / threads)), threads });

/** y[row] += bias; y in the storage type, or fp32 with `wide`. */
export function addBias(
  on: Launcher,
  { rows, width }: Matrix,
  { y, bias, wide = false }: { readonly y: Address; readonly bias: Address; readonly wide?: boolean },
): void {
  const count = rows * width;
  on.launch('rows', wide ? 'add_bias_wide' : 'add_bias', walk(count), { y, bias, count, width });
}

/** y[row] *= factors[row], fp32. */
export function scaleRows(on: Launcher, { rows, width }: Matrix, y: Address, factors: Address): void {
  const count = rows * width;
  on.launch('rows', 'scale_rows', walk(count), { y, factors, count, width });
}

/** y[row] += factors[row] * x. */
export function addOuter(
  on: Launcher,
  { rows, width }: Matrix,
  { y, factors, x }: { readonly y: Address; readonly factors: Address; readonly x: Address },
): void {
  const count = rows * width;
  on.launch('rows', 'add_outer', walk(count), { y, factors, x, count, width });
}

/** out (fp32) += the sum of factors[row] * x[row], factors 1 unless given. scratch: `normScratch` of the matrix. */
export function sumRows(
  on: Launcher,
  { rows, width }: Matrix,
  {
    x,
    factors = nullAddress,
    out,
    scratch: partial,
  }: { readonly x: Address; readonly factors?: Address; readonly out: Address; readonly scratch: Address },
): void {
  if (rows === 0) return;
  const { blocks, rowsPerBlock } = rowBlocks({ rows });
  on.launch('rows', 'column_partial', { blocks, threads }, { x, factors, partial, rows, width, rowsPerBlock });
  columnSum(on, { rows: blocks, width }, partial, out);
}

/** x limited to [-limit, limit]. */
export function clampValues(on: Launcher, x: Address, count: number, limit: number): void {
  on.launch('rows', 'clamp_values', walk(count), { x, count, limit });
}

/** gradient = 0 where values lie beyond the limit, or at it too. */
export function maskClamped(
  on: Launcher,
  { gradient, values, count }: { readonly gradient: Address; readonly values: Address; readonly count: number },
  limit: number,
  inclusive: boolean,
): void {
  on.launch('rows', 'mask_clamped', walk(count), { gradient, values, count, limit, inclusive: Number(inclusive) });
}

/** to[row, i] = the sum over heads of from[row, head, first + i]. */
export function sumHeads(
  on: Launcher,
  shape: {
    readonly rows: number;
    readonly heads: number;
    readonly stride: number;
    readonly first: number;
    readonly width: number;
  },
  from: Address,
  to: Address,
): void {
  const { rows, ...rest } = shape;
  const count = rows * shape.width;
  on.launch('rows', 'sum_heads', { blocks: Math.ceil(count / threads), threads }, { from, to, count, ...rest });
}

/** Where rows lie, in bytes. */
export interface Pitched {
  readonly address: Address;
  /** From one row to the next. */
  readonly pitch: number;
}

/** Copies `rows` runs of `bytes`. */
export function copyRows(
  { runtime, stream }: { readonly runtime: RuntimeLibrary; readonly stream: Address },
  { from, to }: { readonly from: Pitched; readonly to: Pitched },
  { rows, bytes }: { readonly rows: number; readonly bytes: number },
): void {
  if (rows > 0 && bytes > 0)
    runtime.cudaMemcpy2DAsync(to.address, to.pitch, from.address, from.pitch, bytes, rows, cuda.copyAnyWay, stream);
}
