/** Launches of kernels/swiglu.cu. */
import type { ClampedSwiglu } from '@monta/core';
import type { Address } from '../bindings/index.js';
import { nullAddress, warp, type Launcher } from './launcher.js';
import type { MovesPlan } from './rows.js';

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
  /** Where the rows lie that products left in a padded buffer; absent: at their own places. */
  readonly moved?: Pick<MovesPlan, 'moves' | 'starts' | 'count'>;
}

const unmoved = { moves: nullAddress, starts: nullAddress, count: 0 };

/** What the kernels know of moved rows. */
const movesOf = ({ moved = unmoved }: ExpertRows) => ({
  moves: moved.moves,
  starts: moved.starts,
  count: moved.count,
});

/** activated [rows, ffn] = weight * silu(gate) * up; gateUp [rows, 2 * ffn], copied to `kept` where given. */
export function swigluForward(
  on: Launcher,
  shape: ExpertRows,
  {
    gateUp,
    activated,
    kept = nullAddress,
  }: { readonly gateUp: Address; readonly activated: Address; readonly kept?: Address },
): void {
  const { rows: blocks, ffn, total = nullAddress, weights = nullAddress, rowPick = nullAddress } = shape;
  const grid = { blocks, threads: on.rowThreads(ffn) };
  const arrays = { gateUp, activated, weights, rowPick, total, kept };
  on.launch('swiglu', 'swiglu_forward', grid, { ffn, ...arrays, ...movesOf(shape) });
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
  const { gateUp, dactivated, dgateUp, activated = nullAddress, dweights = nullAddress } = arrays;
  on.rowThreads(ffn);
  const grid = { blocks: Math.ceil(rows / warpsPerBlock), threads: warp * warpsPerBlock };
  on.launch('swiglu', 'swiglu_backward', grid, {
    gateUp,
    dactivated,
    dgateUp,
    activated,
    dweights,
    weights,
    rowPick,
    total,
    rows,
    ffn,
    ...movesOf(shape),
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
  on.launch('swiglu', 'swiglu_clamped_forward', { blocks, threads: clampedThreads }, { ffn, alpha, limit, ...arrays });
}

/** dgateUp may be gateUp. */
export function clampedBackward(
  on: Launcher,
  { rows: blocks, ffn }: ExpertRows,
  { alpha, limit }: ClampedSwiglu,
  arrays: { readonly gateUp: Address; readonly dactivated: Address; readonly dgateUp: Address },
): void {
  on.launch('swiglu', 'swiglu_clamped_backward', { blocks, threads: clampedThreads }, { ffn, alpha, limit, ...arrays });
}
