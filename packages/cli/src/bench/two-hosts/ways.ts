/** Ways through a layer: halves, which are the same in both passes, and chunk counts, which are not. */
import type { DispatchVariant, LayerPass, Strategy } from '@monta/core';
import { halvesName } from '@monta/core/schedule';
import { layerPasses } from '@monta/core/plan';
import type { Way } from './types.js';

/** A way's time, where both its passes are known. */
export type WayThrough = (strategy: string, forwardChunks: number, backwardChunks: number) => Way | undefined;

export const wayThrough =
  (secondsOf: (name: string, pass: LayerPass, chunks: number) => number | undefined): WayThrough =>
  (strategy, forwardChunks, backwardChunks) => {
    const forward = secondsOf(strategy, 'forward', forwardChunks);
    const backward = secondsOf(strategy, 'backward', backwardChunks);
    return forward === undefined || backward === undefined
      ? undefined
      : { strategy, forwardChunks, backwardChunks, seconds: forward + backward };
  };

/** All ways that combine passes of these variants. */
export function waysOf(variants: readonly DispatchVariant[], way: WayThrough): Way[] {
  const names = [...new Set(variants.map(({ name }) => name))];
  const counts = [...new Set(variants.map(({ strategy }) => strategy.chunks.forward))];
  return names.flatMap((name) =>
    counts.flatMap((forward) => counts.flatMap((backward) => way(name, forward, backward) ?? [])),
  );
}

export const fastest = (ways: readonly Way[]): Way =>
  ways.reduce((best, way) => (way.seconds < best.seconds ? way : best), present(ways[0]));

export const present = <T>(way: T | undefined): T => {
  if (way === undefined) throw new Error('a way was chosen that was not measured');
  return way;
};

/** Names the variant that measures a pass of a strategy: of its halves, cut into as many chunks. */
export const passVariant = (strategy: Strategy, pass: LayerPass): string =>
  `${halvesName(strategy)} ${strategy.chunks[pass]}`;

/** Of both passes. */
export const variantNames = (strategy: Strategy): string[] => layerPasses.map((pass) => passVariant(strategy, pass));

export const variantName = ({ name, strategy }: DispatchVariant): string => `${name} ${strategy.chunks.forward}`;

export const variantsOfWay = ({ strategy, forwardChunks, backwardChunks }: Way): string[] =>
  [forwardChunks, backwardChunks].map((chunks) => `${strategy} ${chunks}`);

/** Variants of the first ways, given by their variants' names; no more than `most`. */
export function firstVariants(ways: readonly (readonly string[])[], most: number): Set<string> {
  const names = new Set<string>();
  for (const own of ways) {
    if (new Set([...names, ...own]).size > most) break;
    for (const name of own) names.add(name);
  }
  return names;
}
