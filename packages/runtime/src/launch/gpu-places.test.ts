import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gpuPlaces, ncclEnvironment, startedPlaces, type HostedRank } from './gpu-places.js';

const cases = fc.record({
  nodes: fc.integer({ min: 1, max: 8 }),
  ranksPerNode: fc.integer({ min: 1, max: 8 }),
  gpus: fc.integer({ min: 1, max: 8 }),
});

describe('places of ranks on cards', () => {
  it('never put two ranks that NCCL takes for one host on one card', () => {
    fc.assert(
      fc.property(cases, ({ nodes, ranksPerNode, gpus }) => {
        const places = gpuPlaces({ ranks: nodes * ranksPerNode, ranksPerNode, gpus });
        const seen = places.map(({ host, gpu }) => `${host} ${gpu}`);
        expect(new Set(seen).size).toBe(places.length);
        expect(places.every(({ gpu }) => gpu >= 0 && gpu < gpus)).toBe(true);
      }),
    );
  });

  it('leave NCCL alone where every rank has a card and the machine is one node', () => {
    const places = gpuPlaces({ ranks: 4, gpus: 4 });
    expect(places.map(({ gpu }) => gpu)).toEqual([0, 1, 2, 3]);
    for (const place of places)
      expect(Object.keys(ncclEnvironment(place)).some((name) => name.startsWith('NCCL_'))).toBe(false);
  });

  it('spread two nodes of two ranks over two cards, each pair of equal place on both', () => {
    const places = gpuPlaces({ ranks: 4, gpus: 2, ranksPerNode: 2 });
    expect(places.map(({ gpu }) => gpu)).toEqual([0, 1, 1, 0]);
    expect(places.map(({ host }) => host)).toEqual(['monta-node-0', 'monta-node-0', 'monta-node-1', 'monta-node-1']);
    for (const place of places)
      expect(ncclEnvironment(place)).toMatchObject({
        NCCL_HOSTID: place.host,
        NCCL_SOCKET_IFNAME: 'lo',
        NCCL_MAX_CTAS: '8',
        NCCL_MAX_P2P_NCHANNELS: '8',
      });
  });

  it('refuse nodes that ranks do not fill, and a machine without a card', () => {
    expect(() => gpuPlaces({ ranks: 6, gpus: 1, ranksPerNode: 4 })).toThrow('6 ranks do not fill nodes of 4 ranks');
    expect(() => gpuPlaces({ ranks: 1, gpus: 0 })).toThrow('no card');
  });
});

describe('places of ranks that somebody else started', () => {
  const cards = (count: number): string[] => Array.from({ length: count }, (_, card) => `0000:${card}0:00.0`);
  /** As Slurm binds them: every rank sees one card, which it counts as its first. */
  const bound = (ranks: number, localSize: number): HostedRank[] =>
    Array.from({ length: ranks }, (_, rank) => ({
      host: `host${Math.floor(rank / localSize)}`,
      cards: cards(localSize).slice(rank % localSize, (rank % localSize) + 1),
    }));
  const seeingAll = (ranks: number, localSize: number): HostedRank[] =>
    bound(ranks, localSize).map(({ host }) => ({ host, cards: cards(localSize) }));

  it('on several hosts each have a card, and NCCL its own way to the others: nothing of the loopback', () => {
    for (const ranks of [bound(8, 4), seeingAll(8, 4)]) {
      const places = startedPlaces(ranks, { localSize: 4 });
      expect(places.map(({ node }) => node)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
      const taken = places.map(({ gpu }, rank) => `${ranks[rank]?.host} ${ranks[rank]?.cards[gpu]}`);
      expect(new Set(taken).size).toBe(8);
      for (const place of places)
        expect(Object.keys(ncclEnvironment(place)).filter((name) => name.startsWith('NCCL_'))).toEqual([]);
    }
  });

  it('on one host are those of ranks started from here where all see all cards', () => {
    for (const ranksPerNode of [2, 4])
      expect(startedPlaces(seeingAll(4, 4), { localSize: 4, ranksPerNode })).toEqual(
        gpuPlaces({ ranks: 4, gpus: 4, ranksPerNode }),
      );
    const shared = Array.from({ length: 4 }, () => ({ host: 'one', cards: cards(1) }));
    expect(startedPlaces(shared, { localSize: 4 })).toEqual(gpuPlaces({ ranks: 4, gpus: 1 }));
  });

  it('on one host may stand for several nodes where each rank sees a card of its own', () => {
    const places = startedPlaces(bound(4, 4), { localSize: 4, ranksPerNode: 2 });
    expect(places.map(({ gpu, host }) => `${gpu} ${host}`)).toEqual([0, 0, 1, 1].map((node) => `0 monta-node-${node}`));
  });

  it('are refused where a rank has no card, ranks of several hosts share one, or hosts are not the nodes', () => {
    const none = [...bound(3, 4), { host: 'far', cards: [] }];
    expect(() => startedPlaces(none, { localSize: 4 })).toThrow('rank 3 on host far sees no card');
    const few = bound(4, 2).map(({ host }) => ({ host, cards: cards(1) }));
    expect(() => startedPlaces(few, { localSize: 2 })).toThrow('ranks 0 and 1 would share a card of host host0');
    expect(() => startedPlaces(bound(4, 2), { localSize: 2, ranksPerNode: 4 })).toThrow('every host has 2');
  });
});
