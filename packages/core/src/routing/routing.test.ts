import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../units/errors.js';
import { Random } from '../units/random.js';
import {
  balancedCounts,
  expectedGroupsPerToken,
  expectedShares,
  expertProbabilities,
  imbalance,
  rowsPerGroup,
  sampleCounts,
} from './routing.js';
import { readRecordedRouting } from './recordings/index.js';
import type { Routing } from './routing.js';
import { inclusionProbabilities, weightsForInclusion } from './successive.js';
import { maxOf, minOf } from '../units/index.js';

const sum = (values: Iterable<number>): number => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};

const ascending = (values: Float64Array): number[] => [...values].sort((a, b) => a - b);

const routings: fc.Arbitrary<Routing> = fc.oneof(
  fc.constant<Routing>({ kind: 'uniform' }),
  fc.record({
    kind: fc.constant('zipf' as const),
    exponent: fc.double({ min: 0, max: 3, noNaN: true }),
    seed: fc.nat(),
  }),
);
const shapes = fc
  .record({
    sources: fc.integer({ min: 1, max: 5 }),
    tokensPerSource: fc.integer({ min: 0, max: 60 }),
    experts: fc.integer({ min: 1, max: 20 }),
    k: fc.nat(),
    routing: routings,
    seed: fc.nat(),
  })
  .map(({ k, ...shape }) => ({ ...shape, topK: 1 + (k % shape.experts) }));

/**
 * Inclusion probabilities over k of successive draws without replacement, by walking every ordered choice of k experts.
 */
function exactShares(weights: Float64Array, topK: number): number[] {
  const shares = Array.from(weights, () => 0);
  const walk = (left: number, chosen: number[], probability: number): void => {
    if (chosen.length === topK) {
      for (const e of chosen) shares[e] += probability / topK;
      return;
    }
    for (const [e, w] of weights.entries()) {
      if (!chosen.includes(e)) walk(left - w, [...chosen, e], (probability * w) / left);
    }
  };
  walk(sum(weights), [], 1);
  return shares;
}

describe('counts', () => {
  it.each([
    ['sampled', sampleCounts],
    ['balanced', balancedCounts],
  ] as const)('%s: every token has topK rows, and none two on one expert', (_, counts) => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const result = counts(shape);
        expect(result).toHaveLength(shape.sources);
        for (const row of result) {
          expect(row).toHaveLength(shape.experts);
          expect(sum(row)).toBe(shape.tokensPerSource * shape.topK);
          expect(minOf(row)).toBeGreaterThanOrEqual(0);
          expect(maxOf(row)).toBeLessThanOrEqual(shape.tokensPerSource);
        }
        expect(counts(shape)).toEqual(result);
      }),
    );
  });

  it('balanced and uniform: as even as whole rows allow, per source and over sources', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const result = balancedCounts({ ...shape, routing: { kind: 'uniform' } });
        for (const row of result) expect(maxOf(row) - minOf(row)).toBeLessThanOrEqual(1);
        const rows = rowsPerGroup(result, shape.experts);
        expect(maxOf(rows) - minOf(rows)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('sampled: shares are those of exact successive draws', () => {
    // At exponent 6 one expert takes nearly every draw, so that most tokens fill up by clocks.
    for (const exponent of [1, 6]) {
      const routing: Routing = { kind: 'zipf', exponent };
      const exact = exactShares(expertProbabilities(routing, 8), 3);
      const [row] = sampleCounts({ sources: 1, tokensPerSource: 60_000, experts: 8, topK: 3, routing, seed: 1 });
      for (const [e, n] of row.entries()) expect(Math.abs(n / 180_000 - exact[e])).toBeLessThan(0.003);
    }
  });

  it('sampled: sources are independent of how many there are, and differ with the seed', () => {
    const shape = { tokensPerSource: 100, experts: 16, topK: 2, routing: { kind: 'uniform' } as const };
    const two = sampleCounts({ ...shape, sources: 2, seed: 3 });
    expect(sampleCounts({ ...shape, sources: 5, seed: 3 }).slice(0, 2)).toEqual(two);
    expect(two[0]).not.toEqual(two[1]);
    expect(sampleCounts({ ...shape, sources: 2, seed: 4 })).not.toEqual(two);
  });

  it('refuse shapes that make no sense', () => {
    const shape = {
      sources: 1,
      tokensPerSource: 4,
      experts: 4,
      topK: 2,
      routing: { kind: 'uniform' } as const,
      seed: 1,
    };
    expect(() => sampleCounts({ ...shape, topK: 5 })).toThrow(InputError);
    expect(() => balancedCounts({ ...shape, sources: 0 })).toThrow(InputError);
    expect(() => balancedCounts({ ...shape, routing: { kind: 'zipf', exponent: -1 } })).toThrow(InputError);
  });
});

describe('expected shares', () => {
  it('are those of walking every ordered draw', () => {
    for (const exponent of [0.3, 1, 3]) {
      for (const topK of [1, 2, 3, 4, 6]) {
        const routing: Routing = { kind: 'zipf', exponent };
        const exact = exactShares(expertProbabilities(routing, 8), topK);
        const shares = expectedShares(routing, 8, topK);
        expect(sum(shares)).toBeCloseTo(1, 12);
        for (const [e, share] of shares.entries()) expect(Math.abs(share - exact[e])).toBeLessThan(1e-8);
      }
    }
  });

  it('give a zipf law at top-1, ranked by number without a seed', () => {
    const p = expertProbabilities({ kind: 'zipf', exponent: 2 }, 4);
    expect(p[0] / p[3]).toBeCloseTo(16, 10);
    expect(ascending(expertProbabilities({ kind: 'zipf', exponent: 2, seed: 9 }, 4))).toEqual(ascending(p));
  });
});

describe('successive draws', () => {
  it('have weights for any wanted probabilities', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 6, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        (raw, k) => {
          const wanted = inclusionProbabilities(Float64Array.from(raw), k);
          const found = inclusionProbabilities(weightsForInclusion(wanted, k), k);
          for (const [i, p] of found.entries()) expect(Math.abs(p - wanted[i])).toBeLessThan(1e-4);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('never take what has no weight, and always what is needed', () => {
    expect([...inclusionProbabilities(Float64Array.of(3, 0, 1), 2)]).toEqual([1, 0, 1]);
    expect(inclusionProbabilities(Float64Array.of(3, 0, 1, 2), 2)[1]).toBe(0);
  });
});

describe('groups per token', () => {
  it('is 1 for one group, k when every expert is a group, all when k takes every expert', () => {
    expect(expectedGroupsPerToken(64, 1, 8)).toBe(1);
    expect(expectedGroupsPerToken(64, 64, 8)).toBeCloseTo(8, 12);
    expect(expectedGroupsPerToken(64, 8, 64)).toBe(8);
    // DeepSeek-V3's 256 experts on 8 nodes, without its limit of 4 nodes: 8·(1 - C(224,8)/C(256,8)).
    expect(expectedGroupsPerToken(256, 8, 8)).toBeCloseTo(5.3, 1);
    expect(() => expectedGroupsPerToken(64, 7, 8)).toThrow(RangeError);
  });

  it.each([
    [8, 2, 2],
    [64, 8, 8],
    [128, 16, 8],
    [16, 4, 4],
  ])('agrees with drawing: %i experts in %i groups, top-%i', (experts, groups, topK) => {
    const random = new Random(experts);
    const draws = 20_000;
    let hit = 0;
    const order = Array.from({ length: experts }, (_, e) => e);
    for (let i = 0; i < draws; i++) {
      hit += new Set(
        random
          .shuffle(order)
          .slice(0, topK)
          .map((e) => Math.floor((e * groups) / experts)),
      ).size;
    }
    expect(Math.abs(hit / draws / expectedGroupsPerToken(experts, groups, topK) - 1)).toBeLessThan(0.01);
  });
});

describe('imbalance', () => {
  it('is the largest rank over the mean', () => {
    expect(imbalance([Int32Array.of(3, 1, 0, 0), Int32Array.of(3, 1, 0, 0)], 2)).toBe(2);
    expect(imbalance([Int32Array.of(2, 2, 2, 2)], 4)).toBe(1);
    expect(imbalance([Int32Array.of(0, 0)], 2)).toBe(1);
  });
});

describe('recorded routing', () => {
  const text = '{"experts": 4, "topK": 2, "counts": [[40, 30, 20, 10], [10, 10, 40, 40]]}';
  it('is read, kept by balanced counts, and given back by sampling', () => {
    const routing = readRecordedRouting(text, 'r.json');
    const shape = { sources: 2, tokensPerSource: 50, experts: 4, topK: 2, routing };
    expect(balancedCounts(shape).map((row) => [...row])).toEqual(routing.counts);
    const sampled = sampleCounts({ ...shape, tokensPerSource: 40_000, seed: 1 });
    for (const [s, row] of sampled.entries()) {
      for (const [e, n] of row.entries()) expect(Math.abs(n / 80_000 - routing.counts[s][e] / 100)).toBeLessThan(0.006);
    }
    expect(() => balancedCounts({ ...shape, experts: 8 })).toThrow('the recorded routing has 4 experts, the model 8');
  });

  it.each([
    ['[10, 10, 40, 40]', '[10, 10, 40]', '3 counts for 4 experts'],
    ['[10, 10, 40, 40]', '[0, 0, 0, 0]', 'all counts are 0'],
    ['[10, 10, 40, 40]', '[1, 1, 40, 1]', 'more than one per token'],
    ['40, 30', '-4, 30', 'is out of range'],
    ['"topK": 2', '"topK": 5', 'expected a whole number from 1 to 4'],
    ['"counts"', '"count"', 'did you mean counts?'],
    ['"counts": [[40, 30, 20, 10], [10, 10, 40, 40]]', '"choices": [[0, 1, 2]]', 'no whole number of tokens'],
    ['"counts": [[40, 30, 20, 10], [10, 10, 40, 40]]', '"choices": [[0, 1, 2, 2]]', 'token 1 has an expert twice'],
    ['"counts"', '"choices": [[0, 1]], "counts"', 'counts or choices'],
  ])('refuses %s as %s', (from, to, part) => {
    let found = '';
    try {
      readRecordedRouting(text.replace(from, to), 'r.json');
    } catch (error) {
      if (error instanceof InputError) found = error.format();
    }
    expect(found).toContain(part);
  });
});
