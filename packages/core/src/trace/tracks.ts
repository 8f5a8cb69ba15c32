/**
 * Tracks of a lane: a viewer shows slices of one thread only when they nest, and collectives of different groups may
 * overlap on a lane.
 */
import type { Span } from './span.js';

/**
 * For every span its track among those of its rank and lane: the first on which nothing else was open when it was
 * issued.
 */
export function tracksOf(spans: readonly Span[]): Int32Array {
  const tracks = new Int32Array(spans.length);
  const queues = new Map<string, number[]>();
  spans.forEach(({ step, rank, lane }, index) => {
    const key = `${step} ${rank} ${lane}`;
    const queue = queues.get(key);
    if (queue) queue.push(index);
    else queues.set(key, [index]);
  });
  const at = (index: number): Pick<Span, 'issued' | 'end'> => spans[index] ?? { issued: 0, end: 0 };
  for (const queue of queues.values()) {
    const free: number[] = [];
    for (const index of queue.sort((a, b) => at(a).issued - at(b).issued || at(a).end - at(b).end)) {
      const { issued, end } = at(index);
      const found = free.findIndex((until) => until <= issued);
      const track = found === -1 ? free.length : found;
      free[track] = end;
      tracks[index] = track;
    }
  }
  return tracks;
}
