/**
 * When the regions of one template that runs alone take room and give it back. It says what `compile` and
 * `memoryTimeline` say of a program of this template's one node, without a compiler's work: a search asks for hundreds
 * of templates. A test holds it against them.
 */
import { dtypeBytes } from '../schedule/moe-shape.js';
import type { Region, Template } from '../schedule/schedule.js';
import { isTransient, type TimelineOptions } from './timeline.js';

/** By place in the template: the operation that uses a region first, and the one behind which it is given back. */
export interface Lifetimes {
  readonly operations: number;
  /** -1 of regions that nothing uses, or that do not count. */
  readonly first: Int32Array;
  readonly last: Int32Array;
}

/** `counts`: regions that are looked at; `freed`: as `TimelineOptions` has it. */
export function templateLifetimes(
  { regions, operations }: Template,
  counts: (region: Region) => boolean,
  freed: TimelineOptions['freed'] = 'node',
): Lifetimes {
  const placeOf = new Map<string, number>();
  for (let place = 0; place < regions.length; place++) placeOf.set(regions[place]?.id ?? '', place);
  const first = new Int32Array(regions.length).fill(-1);
  const last = new Int32Array(regions.length);
  for (let operation = 0; operation < operations.length; operation++) {
    const uses = operations[operation]?.uses ?? [];
    for (let use = 0; use < uses.length; use++) {
      const place = placeOf.get(uses[use]?.region ?? '') ?? -1;
      if (first[place] === -1) first[place] = operation;
      last[place] = operation;
    }
  }
  const end = operations.length - 1;
  for (let place = 0; place < regions.length; place++) {
    const region = regions[place];
    if (region === undefined || !isTransient(region) || !counts(region)) first[place] = -1;
    else if (freed !== 'use' || region.life !== 'layer') last[place] = end;
  }
  return { operations: operations.length, first, last };
}

/** Bytes while each operation runs. `regions`: of the template, with the rows that count. */
export function bytesWhileRunning(
  { operations, first, last }: Lifetimes,
  regions: readonly Region[],
  { rowsOf, round = (bytes) => bytes }: TimelineOptions,
): number[] {
  const changes = new Float64Array(operations + 1);
  for (let place = 0; place < regions.length; place++) {
    const region = regions[place];
    const from = first[place] ?? -1;
    if (region === undefined || from < 0) continue;
    const instance = { region, layer: 0, microBatch: 0, node: 0, first: 0, last: 0, ends: [] };
    const bytes = round(rowsOf(region.rows, instance) * region.columns * dtypeBytes[region.dtype]);
    const behind = (last[place] ?? 0) + 1;
    changes[from] = (changes[from] ?? 0) + bytes;
    changes[behind] = (changes[behind] ?? 0) - bytes;
  }
  const running: number[] = [];
  let bytes = 0;
  for (let operation = 0; operation < operations; operation++) running.push((bytes += changes[operation] ?? 0));
  return running;
}
