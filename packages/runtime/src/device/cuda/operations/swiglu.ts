/** Launches of kernels/swiglu.cu. */
import type { ClampedSwiglu } from '@monta/core';
import type { Address } from '../bindings/index.js';
import { nullAddress, warp, type Launcher } from './launcher.js';

/** Rows of a block of the backward: a warp each. */
const warpsPerBlock = 8;

export interface ExpertRows {
  /** Rows that the grid covers; those from `total` on are left alone. */
  readonly rows: number;
  readonly ffn: number;
  /** One int32 in the card's memory; absent: all rows. */
  readonly total?: Address;
  /** The combine's weights, fp32 by pick, and the pick of each row: folded into the activation. Absent: all 1. */
  readonly weights?: Address;
  readonly rowPick?: Address;
}

/** activated [rows, ffn] = weight * silu(gate) * up; gateUp [rows, 2 * ffn]. */
export function swigluForward(on: Launcher, shape: ExpertRows, gateUp: Address, activated: Address): void {
  const { rows: blocks, ffn, total = nullAddress, weights = nullAddress, rowPick = nullAddress } = shape;
  const grid = { blocks, threads: on.rowThreads(ffn) };
  on.launch('swiglu', 'swiglu_forward', grid, { gateUp, weights, rowPick, total, activated, ffn });
}

/** dgateUp (may be gateUp), activated again where asked, and dweights by pick where asked. */
export function swigluBackward(
  on: Launcher,
  shape: ExpertRows,
  arrays: {
    readonly gateUp: Address;
    /** Gradient of the rows before weighting. */
    readonly dactivated: Address;
    readonly dgateUp: Address;
    readonly activated?: Address;
    readonly dweights?: Address;
  },
): void {
  const { rows, ffn, total = nullAddress, weights = nullAddress, rowPick = nullAddress } = shape;
  const { activated = nullAddress, dweights = nullAddress, ...required } = arrays;
  on.rowThreads(ffn);
  const grid = { blocks: Math.ceil(rows / warpsPerBlock), threads: warp * warpsPerBlock };
  on.launch('swiglu', 'swiglu_backward', grid, {
    ...required,
    activated,
    dweights,
    weights,
    rowPick,
    total,
    rows,
    ffn,
  });
}

const clampedThreads = 256;

/** gpt-oss' activation of rows: see `moe/clamped-swiglu.ts`. */
export function clampedForward(
  on: Launcher,
  { rows: blocks, ffn }: ExpertRows,
  { alpha, limit }: ClampedSwiglu,
  arrays: { readonly gateUp: Address; readonly activated: Address },
): void {
  on.launch('swiglu', 'swiglu_clamped_forward', { blocks, threads: clampedThreads }, { ...arrays, ffn, alpha, limit });
}

/** dgateUp may be gateUp. */
export function clampedBackward(
  on: Launcher,
  { rows: blocks, ffn }: ExpertRows,
  { alpha, limit }: ClampedSwiglu,
  arrays: { readonly gateUp: Address; readonly dactivated: Address; readonly dgateUp: Address },
): void {
  on.launch('swiglu', 'swiglu_clamped_backward', { blocks, threads: clampedThreads }, { ...arrays, ffn, alpha, limit });
}
