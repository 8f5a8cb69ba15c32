import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesSent, decompose } from './flows.js';
import type { Flow } from './flows.js';

const blocks = fc.array(fc.nat(50), { minLength: 2, maxLength: 8 });
const place = fc.record({ sizes: blocks, perNode: fc.integer({ min: 1, max: 4 }) });

function matrix(flows: readonly Flow[], n: number): number[] {
  const bytes = Array.from({ length: n * n }, () => 0);
  for (const { from, to, bytes: amount } of flows) bytes[from * n + to] = (bytes[from * n + to] ?? 0) + amount;
  return bytes;
}

/** Hands real blocks around a ring, hop by hop, and counts what crosses each link. */
function handAround(
  name: 'all_gather' | 'reduce_scatter',
  rings: readonly (readonly number[])[],
  sizes: readonly number[],
): number[] {
  const n = sizes.length;
  const bytes = Array.from({ length: n * n }, () => 0);
  for (const ring of rings) {
    for (let owner = 0; owner < n; owner++) {
      // a gathered block starts at its owner; a reduced one behind it, and ends there
      let at = name === 'all_gather' ? owner : (owner + 1) % n;
      for (let hop = 0; hop < n - 1; hop++) {
        const next = (at + 1) % n;
        const [from, to, block] = [ring[at] ?? 0, ring[next] ?? 0, ring[owner] ?? 0];
        bytes[from * n + to] = (bytes[from * n + to] ?? 0) + (sizes[block] ?? 0) / rings.length;
        at = next;
      }
    }
  }
  return bytes;
}

describe('flows of collectives', () => {
  it('on rings are what handing the blocks around moves', () => {
    fc.assert(
      fc.property(place, ({ sizes, perNode }) => {
        const members = sizes.map((_, i) => i);
        const load = { kind: 'blocks', bytes: Float64Array.from(sizes) } as const;
        const nodeOf = (rank: number): number => Math.floor(rank / perNode);
        const sum = members.flatMap(() => members.map(() => 0));
        for (const name of ['all_gather', 'reduce_scatter'] as const) {
          const { flows, rings, rounds } = decompose({ name, members, load, algorithm: 'ring', nodeOf });
          for (const ring of rings) expect([...ring].sort((a, b) => a - b)).toEqual(members);
          expect(rounds).toBe(1);
          const expected = handAround(name, rings, sizes);
          matrix(flows, sizes.length).forEach((bytes, i) => {
            expect(bytes).toBeCloseTo(expected[i] ?? 0, 9);
            sum[i] = (sum[i] ?? 0) + bytes;
          });
        }
        const both = decompose({ name: 'all_reduce', members, load, algorithm: 'ring', nodeOf });
        matrix(both.flows, sizes.length).forEach((bytes, i) => expect(bytes).toBeCloseTo(sum[i] ?? 0, 9));
      }),
      { seed: 21, numRuns: 150 },
    );
  });

  it('move as many bytes direct as around rings, and none to themselves', () => {
    fc.assert(
      fc.property(place, ({ sizes, perNode }) => {
        const members = sizes.map((_, i) => i);
        const load = { kind: 'blocks', bytes: Float64Array.from(sizes) } as const;
        for (const name of ['all_gather', 'reduce_scatter', 'all_reduce', 'broadcast'] as const) {
          const totals = (['direct', 'ring'] as const).map((algorithm) => {
            const { flows } = decompose({
              name,
              members,
              load,
              algorithm,
              nodeOf: (rank) => Math.floor(rank / perNode),
            });
            for (const flow of flows) {
              expect(flow.from).not.toBe(flow.to);
              expect(flow.bytes).toBeGreaterThan(0);
            }
            return bytesSent(flows, members).reduce((a, b) => a + b, 0);
          });
          expect(totals[0]).toBeCloseTo(totals[1] ?? NaN, 6);
        }
      }),
      { seed: 22, numRuns: 100 },
    );
  });

  it('have the volumes of nccl-tests: (n-1)/n of the buffer per rank, twice for all_reduce', () => {
    const members = [0, 1, 2, 3, 4, 5, 6, 7];
    const load = { kind: 'blocks', bytes: new Float64Array(8).fill(10) } as const;
    for (const algorithm of ['direct', 'ring'] as const) {
      for (const [name, factor] of [
        ['all_gather', 1],
        ['reduce_scatter', 1],
        ['all_reduce', 2],
      ] as const) {
        const { flows } = decompose({ name, members, load, algorithm, nodeOf: (rank) => Math.floor(rank / 4) });
        for (const sent of bytesSent(flows, members)) expect(sent).toBeCloseTo((factor * 80 * 7) / 8, 9);
      }
    }
  });

  it('give all_to_all the matrix without its diagonal, whatever the algorithm', () => {
    const bytes = Float64Array.of(9, 1, 0, 2, 9, 3, 4, 5, 9);
    for (const algorithm of ['direct', 'ring'] as const) {
      const { flows } = decompose({
        name: 'all_to_all',
        members: [3, 5, 8],
        load: { kind: 'pairs', bytes },
        algorithm,
        nodeOf: () => 0,
      });
      expect(flows).toEqual([
        { from: 3, to: 5, bytes: 1 },
        { from: 5, to: 3, bytes: 2 },
        { from: 5, to: 8, bytes: 3 },
        { from: 8, to: 3, bytes: 4 },
        { from: 8, to: 5, bytes: 5 },
      ]);
    }
  });

  it('use every member of a node to cross to the next, staying on one rail', () => {
    const members = [0, 1, 2, 3, 4, 5, 6, 7];
    const load = { kind: 'blocks', bytes: new Float64Array(8).fill(8) } as const;
    const { flows } = decompose({
      name: 'all_gather',
      members,
      load,
      algorithm: 'ring',
      nodeOf: (rank) => Math.floor(rank / 4),
    });
    const crossing = flows.filter((flow) => Math.floor(flow.from / 4) !== Math.floor(flow.to / 4));
    expect(crossing).toHaveLength(8);
    for (const flow of crossing) {
      expect(flow.from % 4).toBe(flow.to % 4);
      expect(flow.bytes).toBeCloseTo((8 * 7) / 4, 9);
    }
  });

  it('are none for one member, for nothing and for barriers', () => {
    const load = { kind: 'blocks', bytes: Float64Array.of(5) } as const;
    expect(decompose({ name: 'all_gather', members: [4], load, algorithm: 'ring', nodeOf: () => 0 }).flows).toEqual([]);
    expect(
      decompose({ name: 'barrier', members: [0, 1], load: { kind: 'nothing' }, algorithm: 'direct', nodeOf: () => 0 })
        .flows,
    ).toEqual([]);
  });
});
