/** What the card gives at best, sustained: the floors beside which everything else stands. */
import { LtGemm } from '../../device/cuda/gemm.js';
import { cuda } from '../../device/cuda/bindings/index.js';
import type { CudaContext } from '../../device/cuda/context.js';
import { fillRandom, timeOnStream, type Timing } from './timing.js';

export interface Rates {
  /** One product of 8192 cubed in bf16 on random data, in runs of 2 s: the power limit decides. */
  readonly product: Timing & { readonly flopsPerSecond: number };
  /** A copy of 4 GiB within the card, bytes read and written. */
  readonly copy: Timing & { readonly bytesPerSecond: number };
  /** A kernel that does next to nothing: host time of a launch, and time on the stream. */
  readonly launch: Timing;
}

export interface RateSizes {
  /** Of the product. */
  readonly side: number;
  readonly copyBytes: number;
  /** Of a run of products. */
  readonly sustainedMilliseconds: number;
  /** Of a run of copies, or of launches. */
  readonly runMilliseconds: number;
}

export const usualSizes: RateSizes = {
  side: 8192,
  copyBytes: 2 ** 32,
  sustainedMilliseconds: 2000,
  runMilliseconds: 100,
};

export function measureRates(context: CudaContext, sizes: RateSizes = usualSizes): Rates {
  const { side, copyBytes, sustainedMilliseconds, runMilliseconds } = sizes;
  const stream = context.createStream();
  const { memory, libraries } = context;
  const matrices = [1, 2, 3].map((seed) => {
    const address = memory.allocate(2 * side * side);
    fillRandom({ context, to: address, elements: side * side, scale: 1, seed });
    return address;
  });
  const [from, to] = [memory.allocate(copyBytes), memory.allocate(copyBytes)];
  fillRandom({ context, to: from, elements: copyBytes / 2, scale: 1, seed: 4 });
  context.synchronize();
  const gemm = new LtGemm(context, 8);
  const [a, b, d] = matrices;
  const multiply = (): void =>
    gemm.multiply(stream, { m: side, n: side, k: side, a, b, d, transposeB: true, storage: 'bf16' });
  const product = timeOnStream(context, stream, multiply, sustainedMilliseconds);
  const copyOnce = (): void => libraries.runtime.cudaMemcpyAsync(to, from, copyBytes, cuda.copyAnyWay, stream);
  const copy = timeOnStream(context, stream, copyOnce, runMilliseconds);
  const kernel = context.kernels.get('random', 'bf16', 'fill_random');
  const launchOnce = (): void =>
    kernel.launch(stream, { blocks: 1, threads: 32 }, { values: d, count: 1, scale: 1, seed: 1 });
  const launch = timeOnStream(context, stream, launchOnce, runMilliseconds);
  for (const address of [...matrices, from, to]) memory.free(address);
  memory.trim();
  return {
    product: { ...product, flopsPerSecond: (2 * side ** 3) / (product.milliseconds / 1000) },
    copy: { ...copy, bytesPerSecond: (2 * copyBytes) / (copy.milliseconds / 1000) },
    launch,
  };
}
