/** Launches of kernels/update.cu. */
import type { AdamWSettings } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import { nullAddress, type Launcher } from './launcher.js';

const threads = 256;
/** Blocks that walk an array: enough to fill any card, and the same everywhere, since they decide the order of sums. */
const walkers = 1024;

export interface CudaAdamWState {
  /** fp32, as the moments. */
  readonly master: Address;
  /** In the storage type, or fp32 with `wide`. */
  readonly gradient: Address;
  readonly wide?: boolean;
  readonly first: Address;
  readonly second: Address;
  /** The copy in the storage type that the model computes with. */
  readonly parameter?: Address;
  /** Elements. */
  readonly count: number;
  readonly decay?: boolean;
}

/**
 * One step of AdamW. gradientScale: address of an fp32 factor; where it is not finite nothing moves. step counts from
 * 1.
 */
export function cudaAdamW({
  on,
  state,
  adamWSettings: { learningRate, beta1, beta2, epsilon, weightDecay },
  step,
  gradientScale = nullAddress,
}: {
  readonly on: Launcher;
  readonly state: CudaAdamWState;
  readonly adamWSettings: AdamWSettings;
  readonly step: number;
  readonly gradientScale?: Address;
}): void {
  const { master, gradient, wide = false, first, second, parameter = nullAddress, count, decay = true } = state;
  on.launch('update', wide ? 'adam_w_wide' : 'adam_w', grid(count), {
    master,
    gradient,
    first,
    second,
    parameter,
    gradientScale,
    count,
    stepSize: learningRate / (1 - beta1 ** step),
    beta1,
    beta2,
    correction: Math.sqrt(1 - beta2 ** step),
    epsilon,
    keep: decay ? 1 - learningRate * weightDecay : 1,
  });
}

function grid(count: number) {
  return { blocks: Math.min(walkers, Math.ceil(count / threads)), threads };
}

/** fp64 elements of the scratch of `cudaSumOfSquares`. */
export const squaresScratch = walkers;

/** *out (fp64) = the sum of squares, or more with `add`. */
export function cudaSumOfSquares(
  on: Launcher,
  { values, count, scratch, out }: { values: Address; count: number; scratch: Address; out: Address },
  add = false,
): void {
  const { blocks } = grid(count);
  on.launch('update', 'sum_of_squares', { blocks, threads }, { values, partial: scratch, count });
  const parameters = { partial: scratch, out, count: blocks, add: Number(add) };
  on.launch('update', 'sum_partials', { blocks: 1, threads }, parameters);
}

/**
 * *factor (fp32) = min(1, maxNorm / (norm + 1e-6)) of the norm whose square is at `squares` (fp64); NaN where it is not
 * finite.
 */
export function cudaClippingFactor(on: Launcher, squares: Address, factor: Address, maxNorm: number): void {
  on.launch('update', 'clipping_factor', { blocks: 1, threads: 1 }, { squares, factor, maxNorm });
}

/**
 * Moves the selection biases of a layer (fp32, one an expert) by `rate` towards balance, as `balanceBias` of the CPU
 * does; they stay where `squares` (fp32) is not finite.
 */
export function cudaBalanceBias(
  on: Launcher,
  state: { readonly bias: Address; readonly picks: Address; readonly squares: Address },
  { experts, rate }: { readonly experts: number; readonly rate: number },
): void {
  on.launch('update', 'balance_bias', { blocks: 1, threads }, { experts, rate, ...state });
}
