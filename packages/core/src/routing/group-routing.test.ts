/** Copies that leave when a token travels once to a rank or to a node, against a plain loop over all tokens. */
import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../testing/strategies.js';
import { expertNodes, groupMembers, worldSize } from '../layout/mesh.js';
import { RoutingBinding } from '../schedule/routing-binding.js';
import type { Exchange } from '../schedule/rows.js';
import { GroupRouting, whole, type SourcePicks } from './group-routing.js';
import { InputError } from '../units/errors.js';
import { Random } from '../units/random.js';
import { groupLimitedExperts } from './group-limited.js';
import {
  expectedGroupsPerToken,
  expectedKeptReach,
  expectedReach,
  sampleCounts,
  sampleIds,
  type Routing,
} from './routing.js';

const layout = { ...layoutOf({ tp: 4, dp: 4, ep: 8, etp: 2 }), ranksPerNode: 4 };
const ranks = worldSize(layout);
const [experts, topK, tokensPerSource] = [32, 6, 6400];
const draw = { sources: 1, tokensPerSource, experts, topK, routing: { kind: 'zipf', exponent: 0.7 } as const };

/** Picks of all slices, every seventh dropped. */
const picks = Array.from({ length: ranks }, (_, source): SourcePicks => {
  const ids = sampleIds({ ...draw, seed: source });
  return { ids: ids.map((id, pick) => (pick % 7 === source % 7 ? ~id : id)), topK };
});

/**
 * Rows of tokens that leave for each rank of the group, once a token; what a half that sends tokens once would bring
 * along.
 */
const oncePerRank: Exchange = {
  name: 'once a rank',
  counts: (at, part, routing) => {
    const members = groupMembers(at.layout, 'expert', at.rank);
    const owner = (place: number) => new Set([Math.floor(place / at.layout.etp)]);
    return {
      send: Int32Array.from(members, (_, place) => routing.uniqueTokens(at.source, owner(place), part)),
      receive: Int32Array.from(members, (_, place) => routing.uniqueTokens(place, owner(at.source), part)),
    };
  },
};

/** The same over the nodes of the group. */
const oncePerNode: Exchange = {
  name: 'once a node',
  counts: (at, part, routing) => {
    const nodes = expertNodes(at.layout, at.rank);
    const send = Int32Array.from(nodes, ({ owners }) => routing.uniqueTokens(at.source, owners, part));
    return { send, receive: send };
  },
};

function countOne(table: number[][], row: number, column: number): void {
  const line = table[row] ?? [];
  line[column] = (line[column] ?? 0) + 1;
}

/**
 * Rank of each token's kept experts, token by token: experts lie in runs over the EP indices, EP index e on ranks 2e
 * and 2e + 1.
 */
function plainly(): { byRank: number[][]; byNode: number[][] } {
  const byRank = Array.from({ length: ranks }, () => Array<number>(ranks).fill(0));
  const byNode = Array.from({ length: ranks }, () => Array<number>(ranks / 4).fill(0));
  for (let source = 0; source < ranks; source++)
    for (let token = 0; token < tokensPerSource; token++) {
      const reached = new Set<number>();
      for (let j = 0; j < topK; j++) {
        const id = picks[source]?.ids[token * topK + j] ?? -1;
        for (let expert = 0; expert < experts; expert++)
          if (expert === id) for (const shard of [0, 1]) reached.add(2 * Math.floor(expert / 4) + shard);
      }
      for (const rank of reached) countOne(byRank, source, rank);
      for (const node of new Set([...reached].map((rank) => Math.floor(rank / 4)))) countOne(byNode, source, node);
    }
  return { byRank, byNode };
}

describe('routing of an expert group', () => {
  const routing = GroupRouting.fromPicks({ layout, experts }, picks);
  const binding = new RoutingBinding(layout, () => routing);
  const sent = (exchange: Exchange, of = 1): number[][] =>
    Array.from({ length: ranks }, (_, rank) =>
      Array.from({ length: of }, (_, chunk) => [...binding.counts(exchange, rank, 0, { chunk, of }).send]).reduce(
        (a, b) => a.map((count, place) => count + (b[place] ?? 0)),
      ),
    );

  it('counts the unique tokens for every rank and node of 102,400 tokens, whole and in chunks', () => {
    expect(ranks * tokensPerSource).toBeGreaterThanOrEqual(100_000);
    const { byRank, byNode } = plainly();
    expect(sent(oncePerRank)).toEqual(byRank);
    expect(sent(oncePerNode)).toEqual(byNode);
    expect(sent(oncePerRank, 3)).toEqual(byRank);
    expect(sent(oncePerNode, 5)).toEqual(byNode);
    const { receive } = binding.counts(oncePerRank, 5, 0, whole);
    expect([...receive]).toEqual(byRank.map((row) => row[5]));
  });

  it('comes near the closed form for uniform picks', () => {
    const ids = sampleIds({ ...draw, tokensPerSource: 20_000, routing: { kind: 'uniform' }, seed: 4 });
    const uniform = GroupRouting.fromPicks({ layout, experts }, [{ ids, topK }]);
    const nodes = expertNodes(layout, 0);
    const copies = nodes.reduce((sum, { owners }) => sum + uniform.uniqueTokens(0, owners), 0);
    expect(copies / 20_000 / expectedGroupsPerToken(experts, nodes.length, topK)).toBeCloseTo(1, 2);
  });

  it('draws the picks that it counts', () => {
    const ids = sampleIds({ ...draw, seed: 9 });
    const counts = new Int32Array(experts);
    for (const id of ids) counts[id] = (counts[id] ?? 0) + 1;
    expect(counts).toEqual(sampleCounts({ ...draw, seed: 9 })[0]);
    for (let token = 0; token < 100; token++)
      expect(new Set(ids.subarray(token * topK, (token + 1) * topK)).size).toBe(topK);
  });

  it('refuses where only sums are known', () => {
    const sums = new GroupRouting({ layout, experts }, routing.counts);
    expect(sums.rows(0, 0)).toBe(routing.rows(0, 0, whole));
    expect(() => sums.uniqueTokens(3, new Set([0]))).toThrow(/picks of source 3/);
  });
});

describe('tokens that are expected to reach a range of experts', () => {
  const kinds: readonly Routing[] = [
    { kind: 'uniform' },
    { kind: 'zipf', exponent: 1.1, seed: 4 },
    {
      kind: 'recorded',
      experts,
      topK,
      counts: [Array.from({ length: experts }, (_, e) => 1 + ((e * e * 7) % 31))],
    },
    { kind: 'group-limited', groups: 8, chosen: 4 },
  ];

  it.each(kinds)('are those of a count of drawn tokens: %j', (kind) => {
    // Drawing in groups takes ten times as long, and is asked for 2.5 in 1,000 alone.
    const tokens = kind.kind === 'group-limited' ? 100_000 : 1_000_000;
    const ids = sampleIds({ sources: 1, tokensPerSource: tokens, experts, topK, routing: kind, seed: 8 });
    const counted = GroupRouting.fromPicks({ layout, experts }, [{ ids, topK }]);
    const expected = expectedReach({ experts, topK }, kind);
    for (const groups of [4, 16]) {
      const ranges = Array.from({ length: groups }, (_, i) => ({
        start: (experts * i) / groups,
        end: (experts * (i + 1)) / groups,
      }));
      const sum = (count: (range: { start: number; end: number }) => number): number =>
        ranges.reduce((total, range) => total + count(range), 0);
      const found = sum((range) => counted.copies(0, range)) / tokens;
      expect(sum((range) => expected(0, range)) / found).toBeCloseTo(1, kind.kind === 'group-limited' ? 2.3 : 2.7);
    }
    // Two thirds of the mean rows an expert are kept, whichever picks they are.
    const rows = Array.from({ length: experts }, (_, e) => counted.counts[e]);
    const kept = rows.map((of) => Math.min(1, ((2 / 3) * tokens * topK) / experts / of));
    const random = new Random(9);
    const dropped = ids.map((id) => (random.uniform() < kept[id] ? id : ~id));
    const left = GroupRouting.fromPicks({ layout, experts }, [{ ids: dropped, topK }]);
    const expectedLeft = expectedKeptReach({ experts, topK }, kind, (_, e) => kept[e]);
    const quarters = [0, 8, 16, 24].map((start) => ({ start, end: start + 8 }));
    const sum = (count: (range: { start: number; end: number }) => number): number =>
      quarters.reduce((total, range) => total + count(range), 0);
    expect(sum((range) => expectedLeft(0, range)) / sum((range) => left.copies(0, range) / tokens)).toBeCloseTo(1, 2.3);
  });

  it('are those of the recorded tokens where every choice is known', () => {
    const choices = [
      [0, 1, 8, 9],
      [2, 31, 4, 5],
    ].map((ids) => Int32Array.from(ids));
    const counts = choices.map((ids) => Array.from({ length: experts }, (_, e) => ids.filter((id) => id === e).length));
    const kind: Routing = { kind: 'recorded', experts, topK: 2, counts, choices };
    const reach = expectedReach({ experts, topK: 2 }, kind);
    // Of the first source's two tokens one has an expert below 8; of the second's both.
    expect([reach(0, { start: 0, end: 8 }), reach(1, { start: 0, end: 8 })]).toEqual([0.5, 1]);
    expect([reach(2, { start: 8, end: 16 }), reach(3, { start: 8, end: 16 })]).toEqual([0.5, 0]);
    const draw = { sources: 1, tokensPerSource: 3, experts, topK: 2, routing: kind, seed: 1 };
    expect([...sampleIds({ ...draw, firstSource: 3 })]).toEqual([2, 31, 4, 5, 2, 31]);
    expect(sampleCounts({ ...draw, firstSource: 2 })[0]?.[0]).toBe(2);
  });
});

describe('routing limited to groups', () => {
  const [size, groups, chosen, k] = [20, 5, 2, 3];

  /** Straight from DeepSeek-V3's description, with every group score and every expert's in a sorted list. */
  function plainly(affinities: readonly number[]): number[] {
    const scored = affinities.map((score, expert) => ({ score, expert, group: Math.floor(expert / (size / groups)) }));
    const best = [...scored].sort((a, b) => b.score - a.score);
    const sums = Array.from({ length: groups }, (_, group) =>
      best
        .filter((one) => one.group === group)
        .slice(0, 2)
        .reduce((sum, { score }) => sum + score, 0),
    );
    const limit = [...sums].sort((a, b) => b - a)[chosen - 1] ?? 0;
    return best
      .filter(({ group }) => (sums[group] ?? 0) >= limit)
      .slice(0, k)
      .map(({ expert }) => expert);
  }

  it('takes the best experts of the groups whose two best have the largest sum', () => {
    const random = new Random(5);
    for (let i = 0; i < 200; i++) {
      const affinities = Float64Array.from({ length: size }, () => random.uniform());
      expect(groupLimitedExperts(affinities, k, { groups, chosen })).toEqual(plainly([...affinities]));
    }
  });

  it('is uniform routing where all groups are chosen', () => {
    const limited = expectedReach({ experts, topK }, { kind: 'group-limited', groups: 4, chosen: 4 });
    const free = expectedReach({ experts, topK }, { kind: 'uniform' });
    for (const range of [
      { start: 0, end: 8 },
      { start: 3, end: 20 },
    ])
      expect(limited(0, range) / free(0, range)).toBeCloseTo(1, 2);
  });

  it('refuses groups that do not divide the experts, or hold too few', () => {
    for (const [g, c] of [
      [3, 2],
      [8, 9],
      [8, 1],
    ])
      expect(() =>
        sampleIds({ ...draw, routing: { kind: 'group-limited', groups: g ?? 0, chosen: c ?? 0 }, seed: 1 }),
      ).toThrow(InputError);
  });
});
