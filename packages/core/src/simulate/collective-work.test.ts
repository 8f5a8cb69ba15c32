import { describe, expect, it } from 'vitest';
import { simulate } from './simulate.js';
import {
  collective,
  kernel,
  noBinding,
  programOf,
  region,
  template,
  testCluster,
  testModel,
  testPlace,
} from '../../testing/simulate-jobs.js';
import type { CollectiveName, Operation } from '../schedule/schedule.js';
import { maxOf, minOf } from '../units/index.js';

const cluster = testCluster(1, 4, { intra: 1 });

/** Four ranks of one host with two cores; seconds at which `operation` ends on each, sorted. */
function ends(
  operations: readonly Operation[],
  operation: string,
  coreSecondsPerCollective: number,
  { on = cluster, rows = 8, latencyOverlap = 0 } = {},
): number[] {
  const result = simulate({
    place: testPlace(on),
    programs: [programOf([template('t', [region('x', rows)], operations)])],
    bindings: [noBinding],
    model: testModel(on),
    hostCores: { cores: 2, ranksPerHost: 4, coreSecondsPerCollective, latencyOverlap },
  });
  if (!result.known) throw new Error(result.missing.join());
  const { spans } = result.trace;
  const own = spans.filter((span) => span.operation === `t/${operation}`);
  return own.map(({ end }) => end).sort((a, b) => a - b);
}

const exchange = (name: CollectiveName = 'all_to_all', id = 'exchange', lane: 'intra' | 'inter' = 'intra') =>
  collective(id, lane, name, 'tp', 'x');

describe('the core time of collectives', () => {
  // 8 rows of 2 bytes: 12 of 16 bytes go to the others at 1 byte/s
  it('is done by as many ranks at a time as there are cores', () => {
    expect(ends([exchange()], 'exchange', 0)).toEqual([12, 12, 12, 12]);
    expect(ends([exchange()], 'exchange', 3)).toEqual([15, 15, 18, 18]);
  });

  it('comes twice in an all_reduce', () => {
    const [without] = ends([exchange('all_reduce')], 'exchange', 0);
    expect(ends([exchange('all_reduce')], 'exchange', 3)).toEqual([6, 6, 12, 12].map((late) => without + late));
  });

  it('adds up over collectives at the same time', () => {
    // Both lanes share the ports, so the bytes of both are through at 24; eight works of 3 s on two cores follow.
    const both = [exchange('all_to_all', 'first'), exchange('all_to_all', 'second', 'inter')];
    const all = [...ends(both, 'first', 3), ...ends(both, 'second', 3)].sort((a, b) => a - b);
    expect(all).toEqual([27, 27, 30, 30, 33, 33, 36, 36]);
  });

  it('shares the cores with kernels', () => {
    // At 12, two ranks begin their works of 3 s beside four kernels: six on two cores, a third of a core each.
    const beside = [kernel('busy', 100), exchange()];
    expect(minOf(ends(beside, 'exchange', 3))).toBeCloseTo(12 + 9, 9);
  });
});

describe('the latency of collectives', () => {
  const on = testCluster(1, 4, { intra: 1, intraLatency: 4 });
  const end = (latencyOverlap: number, rows: number): number =>
    maxOf(ends([exchange()], 'exchange', 0, { on, rows, latencyOverlap }));

  it('comes after the last byte, or passes in part while bytes flow', () => {
    expect([0, 0.5, 1].map((overlap) => end(overlap, 8))).toEqual([16, 14, 12]);
  });

  it('is never shorter than it is without bytes', () => {
    // 12/8 s of bytes: no more than that can pass meanwhile
    expect([0, 0.5, 1].map((overlap) => end(overlap, 1))).toEqual([5.5, 4, 4]);
  });
});
