/**
 * When the regions of one template that runs alone take room and give it back. It says what `compile` and
 * `memoryTimeline` say of a program of this template's one node, without a compiler's work: a search asks for hundreds
 * of templates. A test holds it against them.
 */
import { dtypeBytes } from '../schedule/moe-shape.js';
import type { Region, Template } from '../schedule/schedule.js';
import { isTransient, type TimelineOptions } from './timeline.js';

/** Regions by their places in the template. */
export interface Lifetimes {
  /** By operation, those that it uses first, and those that are given back behind it. */
  readonly opened: readonly (readonly number[])[];
  readonly closed: readonly (readonly number[])[];
}

/** `counts`: regions that are looked at; `freed`: as `TimelineOptions` has it. */
export function templateLifetimes(
  { regions, operations }: Template,
  counts: (region: Region) => boolean,
  freed: TimelineOptions['freed'] = 'node',
): Lifetimes {
  const placeOf = new Map(regions.map(({ id }, place) => [id, place]));
  const opened = operations.map((): number[] => []);
  const closed = operations.map((): number[] => []);
  /** By place, in the order of first uses. */
  const last = new Map<number, number>();
  operations.forEach(({ uses }, operation) => {
    for (const { region } of uses) {
      const place = placeOf.get(region);
      if (place === undefined) continue;
      if (!last.has(place)) opened[operation]?.push(place);
      last.set(place, operation);
    }
  });
  const counted = (place: number): boolean => {
    const region = regions[place];
    return region !== undefined && isTransient(region) && counts(region);
  };
  const end = operations.length - 1;
  for (const [place, operation] of last)
    if (counted(place)) closed[freed === 'use' && regions[place]?.life === 'layer' ? operation : end]?.push(place);
  return { opened: opened.map((places) => places.filter(counted)), closed };
}

/** Bytes while each operation runs. `regions`: of the template, with the rows that count. */
export function bytesWhileRunning(
  { opened, closed }: Lifetimes,
  regions: readonly Region[],
  { rowsOf, round = (bytes) => bytes }: TimelineOptions,
): number[] {
  const sizes = regions.map((region): number => {
    if (!isTransient(region)) return 0;
    const instance = { region, layer: 0, microBatch: 0, node: 0, first: 0, last: 0, ends: [] };
    return round(rowsOf(region.rows, instance) * region.columns * dtypeBytes[region.dtype]);
  });
  let bytes = 0;
  return opened.map((places, operation) => {
    for (const place of places) bytes += sizes[place] ?? 0;
    const running = bytes;
    for (const place of closed[operation] ?? []) bytes -= sizes[place] ?? 0;
    return running;
  });
}
