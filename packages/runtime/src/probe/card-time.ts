/**
 * What kernels that run at the same time on one card take of it. Lanes are streams: a copy of one chunk runs beside a
 * product of another, each for longer than it would alone. Counted whole, as from its start to its end, the same
 * moment counts for both: a price fitted from such spans holds the neighbour's time too, which a simulation, where
 * kernels of a card share it, then adds once more.
 */
import type { Span } from '@monta/core';

type Ran = Pick<Span, 'rank' | 'step' | 'ready' | 'end'>;

/**
 * Seconds of each span, in the order given: every moment is divided by the number of spans that run then in the same
 * step of the same rank, so that all together take the time in which any of them ran. Spans that nothing overlaps keep
 * their length. The spans are of kernels alone, of ranks with a card (or a core) each.
 */
export function sharedSeconds(spans: readonly Ran[]): number[] {
  const seconds = spans.map(() => 0);
  const places = new Map<string, number[]>();
  for (const [place, { rank, step }] of spans.entries()) {
    const key = `${rank} ${step}`;
    const known = places.get(key);
    if (known === undefined) places.set(key, [place]);
    else known.push(place);
  }
  for (const own of places.values()) share(spans, own, seconds);
  return seconds;
}

/** Adds to `seconds` what the spans at `places` take of the one card that they run on. */
function share(spans: readonly Ran[], places: readonly number[], seconds: number[]): void {
  const ends = places
    .filter((place) => spans[place].end > spans[place].ready)
    .flatMap((place) => [
      { place, at: spans[place].ready, begins: true },
      { place, at: spans[place].end, begins: false },
    ])
    .sort((a, b) => a.at - b.at);
  const running = new Set<number>();
  let since = 0;
  for (const { place, at, begins } of ends) {
    for (const one of running) seconds[one] += (at - since) / running.size;
    since = at;
    if (begins) running.add(place);
    else running.delete(place);
  }
}
