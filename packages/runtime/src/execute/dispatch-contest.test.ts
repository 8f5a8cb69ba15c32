/** Contests: every way's results are checked, and what is near the fastest is measured to the end. */
import { dispatchVariants, minOf } from '@monta/core';
import { array, assert, constantFrom, integer, property, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dispatchShape } from '../../testing/execute/dispatch-jobs.js';
import { nearFastest } from './contest-rank.js';
import { runContest, type ContestCase, type ContestResult } from './dispatch-contest.js';
import { rowError, sampleRows, spreadRuns } from './sample-rows.js';

const layout = { tp: 2, cp: 1, dp: 2, pp: 1, etp: 2, ep: 2, edp: 1, sequenceParallel: false } as const;

describe('a contest', () => {
  it('checks every way, tries and ends with those that were asked for', async () => {
    const shape = dispatchShape({ ...layout, ranksPerNode: 2 });
    const strategies = dispatchVariants(shape, [1, 2]).map(({ strategy }) => strategy);
    const one: ContestCase = { shape, routing: { kind: 'uniform' }, seed: 1, strategies, tried: [1, 3], kept: [0] };
    const job = { cases: [one, one], trialRuns: 2, finalRuns: 3, finalShare: 0, checkedRows: 3, seconds: 600 };
    const results: ContestResult[] = [];
    await runContest({ job, onResult: (result) => results.push(result) });
    expect(results.map(({ place }) => place)).toEqual([0, 1]);
    for (const { ways } of results) {
      expect(ways.map(({ strategy }) => strategy)).toEqual(strategies);
      expect(ways.filter(({ checked }) => !(checked.error < 1e-6))).toEqual([]);
      expect(ways.flatMap(({ trials }, place) => (trials ? [[place, trials.passSeconds[0].length]] : []))).toEqual([
        [1, 2],
        [3, 2],
      ]);
      expect(ways[0].finals?.passSeconds.map((runs) => runs.length)).toEqual([3, 3]);
      expect(ways.filter(({ finals }) => finals).length).toBeLessThan(strategies.length);
      expect(ways.every(({ once }) => once.seconds.every((seconds) => seconds > 0))).toBe(true);
    }
  });

  it('does not run again what was far slower once, whose time stands', async () => {
    const shape = dispatchShape({ ...layout, ranksPerNode: 2 });
    const strategies = dispatchVariants(shape, [1, 2]).map(({ strategy }) => strategy);
    const one: ContestCase = { shape, routing: { kind: 'uniform' }, seed: 1, strategies, tried: [], kept: [] };
    const job = { cases: [one], trialRuns: 0, finalRuns: 1, finalShare: 0, onceShare: 0, seconds: 600 };
    const results: ContestResult[] = [];
    await runContest({ job, onResult: (result) => results.push(result) });
    const [{ ways }] = results;
    const stands = ways.filter(({ once, checked }) => once.seconds.join() === checked.seconds.join());
    expect(stands.length).toBeGreaterThan(0);
    expect(stands.length).toBeLessThan(ways.length);
    expect(ways.some(({ finals }) => finals?.seconds.length === 1)).toBe(true);
  });

  it('keeps exactly the ways that no other choice of chunks or halves beats by more than the share', () => {
    const names = ['sliced', 'duplicated', 'scattered'];
    const strategies = names.flatMap((combine) =>
      [1, 2].map((chunks) => ({ dispatch: 'sliced', combine, chunks: { forward: chunks, backward: chunks } })),
    );
    const times = array(tuple(integer({ min: 1, max: 9 }), integer({ min: 1, max: 9 })), {
      minLength: strategies.length,
      maxLength: strategies.length,
    });
    assert(
      property(times, constantFrom(0, 0.2, 0.5, 10), (seconds, share) => {
        const kept = nearFastest(strategies, seconds, share);
        // Brute force: all ways through both passes.
        const ways = strategies.flatMap((one, forward) =>
          strategies.flatMap((other, backward) =>
            one.combine === other.combine
              ? [{ forward, backward, total: seconds[forward][0] + seconds[backward][1] }]
              : [],
          ),
        );
        const fastest = minOf(ways.map(({ total }) => total));
        const best = ways
          .filter(({ total }) => total === fastest)
          .flatMap(({ forward, backward }) => [forward, backward]);
        expect(best.filter((place) => !kept.includes(place))).toEqual([]);
        for (const place of kept) {
          const alike = ways.filter(({ forward, backward }) => forward === place || backward === place);
          expect(minOf(alike.map(({ total }) => total))).toBeLessThanOrEqual(
            // both passes may be a share beyond the best of their halves, which are a share beyond the fastest
            fastest * (1 + share) ** 2 + 1e-9,
          );
        }
      }),
    );
  });
});

describe('rows of a benchmark', () => {
  it.each(['f32', 'bf16'] as const)('tell a token, a column and a weight from others, in %s', (type) => {
    const range = { first: 5, rows: 4, width: 33 };
    const rows = sampleRows(type, range);
    expect(rowError(type, range, rows, { factor: () => 1 })).toBeLessThan(1e-6);
    expect(rowError(type, { ...range, first: 6 }, rows, { factor: () => 1 })).toBeGreaterThan(0.5);
    expect(rowError(type, range, rows.slice().reverse() as typeof rows, { factor: () => 1 })).toBeGreaterThan(0.5);
    expect(rowError(type, range, rows, { factor: (row) => (row === 2 ? 0.9 : 1) })).toBeGreaterThan(0.05);
  });

  it('looks at as many rows as it was told, from the first to the last, or at all', () => {
    assert(
      property(integer({ min: 1, max: 5000 }), integer({ min: 2, max: 300 }), (rows, wanted) => {
        const runs = spreadRuns(rows, wanted);
        const looked = runs.reduce((sum, { count }) => sum + count, 0);
        expect(looked).toBeLessThanOrEqual(wanted);
        expect(looked).toBeGreaterThan(Math.min(rows, wanted) / 2);
        expect(runs[0]?.start).toBe(0);
        const last = runs.at(-1);
        expect((last?.start ?? 0) + (last?.count ?? 0)).toBe(rows);
        runs.slice(1).forEach(({ start }, at) => expect(start).toBeGreaterThanOrEqual(runs[at].start + runs[at].count));
      }),
    );
    expect(spreadRuns(7, Infinity)).toEqual([{ start: 0, count: 7 }]);
  });
});
