/** What one card gives, for a calibration: products, attention, memory, launches. It has no links. */
import type { Probe, ProbedGemm } from '@monta/core';
import { CudaContext } from '../../device/cuda/context.js';
import type { CudaAttentionShape } from '../../device/cuda/attention/graphs.js';
import { LtGemm } from '../../device/cuda/gemm.js';
import { attentionShapes, measureAttention } from './attention.js';
import { measureRates, usualSizes, type RateSizes } from './rates.js';
import { fillRandom, timeOnStream } from './timing.js';

export interface CardProbeSizes {
  readonly rates: RateSizes;
  /** m, n, k. */
  readonly products: readonly (readonly [number, number, number])[];
  readonly attention: readonly CudaAttentionShape[];
  /** Of a run of one product, on which the clocks settle. */
  readonly productMilliseconds: number;
}

const cardSizes: CardProbeSizes = {
  rates: usualSizes,
  products: [
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [8192, 14_336, 4096],
    [8192, 4096, 14_336],
  ],
  attention: attentionShapes,
  productMilliseconds: 300,
};

/** Takes some 40 seconds on a card. */
export function probeCard(context: CudaContext = new CudaContext(), sizes: CardProbeSizes = cardSizes): Probe {
  const { name } = context.facts;
  const rates = measureRates(context, sizes.rates);
  const gemms = sizes.products.map((shape) => timeProduct(context, shape, sizes.productMilliseconds));
  const attention = measureAttention(context, sizes.attention, sizes.rates.runMilliseconds).map(
    ({ shape, forward, backward }) => ({
      sequence: shape.sequence,
      heads: shape.heads,
      kvHeads: shape.kvHeads,
      headDim: shape.headDim,
      valueDim: shape.valueDim,
      forwardSeconds: forward.milliseconds / 1e3,
      backwardSeconds: backward.milliseconds / 1e3,
    }),
  );
  context.close();
  return {
    gpu: name,
    system: '',
    library: 'monta cuda',
    emulatedTimeScale: null,
    tiers: [],
    computeDevice: name,
    gemms: [],
    interference: null,
    card: {
      gemms,
      attention,
      memoryBytesPerSecond: rates.copy.bytesPerSecond,
      launchSeconds: rates.launch.milliseconds / 1e3,
      hostLaunchSeconds: rates.launch.hostMilliseconds / 1e3,
    },
  };
}

function timeProduct(
  context: CudaContext,
  [m, n, k]: CardProbeSizes['products'][number],
  milliseconds: number,
): ProbedGemm {
  const stream = context.createStream();
  const room = (elements: number, seed: number): number => {
    const address = context.memory.allocate(2 * elements);
    fillRandom({ context, to: address, elements, scale: 1, seed });
    return address;
  };
  const [a, b, d] = [room(m * k, 1), room(n * k, 2), room(m * n, 3)];
  context.synchronize();
  const gemm = new LtGemm(context);
  const multiply = (): void => gemm.multiply(stream, { m, n, k, a, b, d, transposeB: true, storage: 'bf16' });
  const timing = timeOnStream(context, stream, multiply, milliseconds);
  for (const address of [a, b, d]) context.memory.free(address);
  return { m, n, k, seconds: timing.milliseconds / 1e3 };
}
