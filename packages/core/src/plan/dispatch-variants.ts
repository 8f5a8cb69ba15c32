/** Every way to dispatch that a layout allows, in every chunk count: what a benchmark measures. */
import { halvesName } from '../schedule/dispatchers/strategy-names.js';
import { searchedHalves, inChunks, unsupportedStrategy, type Strategy } from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import type { LayerPass } from './workload.js';

export interface DispatchVariant {
  /** `duplicated`, `sliced`, `scattered`, or two halves like `sliced+duplicated`. */
  readonly name: string;
  readonly strategy: Strategy;
}

export const layerPasses = ['forward', 'backward'] as const satisfies readonly LayerPass[];

/** All variants that the shape's layout allows, by halves, then by chunk count; both passes are cut alike. */
export function dispatchVariants(shape: MoeShape, chunkCounts: readonly number[]): DispatchVariant[] {
  return searchedHalves()
    .filter((halves) => unsupportedStrategy(halves, shape) === undefined)
    .flatMap((halves) =>
      chunkCounts.map((chunks) => ({
        name: halvesName(halves),
        strategy: inChunks(halves, chunks),
      })),
    );
}

/** Chunk counts at which kernels and overheads are probed. */
const probedChunks = [1, 4];

/** Strategies that are probed for these variants: of few and of many chunks, where there are such. */
export function probedStrategies(variants: readonly DispatchVariant[]): Strategy[] {
  const probed = variants.filter(({ strategy }) => probedChunks.includes(strategy.chunks.forward));
  return (probed.length > 0 ? probed : variants).map(({ strategy }) => strategy);
}
