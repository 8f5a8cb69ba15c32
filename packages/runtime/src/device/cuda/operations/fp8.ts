/** Launches of kernels/fp8.cu: rows in fp8 (see `moe/fp8-rows.ts` of the CPU), a block a row. */
import type { Address } from '../bindings/index.js';
import { nullAddress, type Launcher } from './launcher.js';

const threads = 256;

/** Where rows come from and where they go; lists of rows in the card's memory, absent: row 0, 1, 2, ... */
export interface Fp8Rows {
  readonly rows: number;
  /** Elements of a row. */
  readonly width: number;
  readonly from: Address;
  readonly to: Address;
  readonly fromRow?: Address;
  readonly toRow?: Address;
}

/** `moves.cuh`: triples of moves, and the row with which each begins. */
export interface Fp8Moves {
  readonly rows: number;
  readonly width: number;
  readonly from: Address;
  readonly to: Address;
  readonly moves: Address;
  readonly starts: Address;
  /** Moves. */
  readonly count: number;
}

/** Rows of the storage type into rows of fp8, or back. */
export function convertRows(on: Launcher, way: 'quantise' | 'dequantise', { rows, ...places }: Fp8Rows): void {
  const parameters = { fromRow: nullAddress, toRow: nullAddress, ...places };
  on.launch('fp8', `${way}_rows`, { blocks: rows, threads }, parameters);
}

/** Rows of fp8 as they are, of `bytes` each. */
export function moveFp8(
  on: Launcher,
  { rows, ...places }: Omit<Required<Fp8Rows>, 'width'> & { readonly bytes: number },
): void {
  on.launch('fp8', 'move_fp8', { blocks: rows, threads }, places);
}

/** Rows of tokens into packed rows of fp8, times the weights of their picks where these are given. */
export function quantiseMoves(
  on: Launcher,
  { rows, ...places }: Fp8Moves,
  of: { readonly rowPick: Address; readonly picks: number; readonly weights?: Address },
): void {
  const parameters = { weights: nullAddress, ...places, ...of };
  on.launch('fp8', 'quantise_moves', { blocks: rows, threads }, parameters);
}

/** Packed rows of fp8 into canonical rows. */
export function dequantiseMoves(on: Launcher, { rows, ...places }: Fp8Moves): void {
  on.launch('fp8', 'dequantise_moves', { blocks: rows, threads }, places);
}
