import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gpuPlaces, ncclEnvironment } from './gpu-places.js';

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
