import { describe, expect, test } from 'vitest';
import type { Cluster } from './cluster.js';
import { occupiedCluster } from './occupied.js';
import { deviceCount, route, routeBytesPerSecond } from './ports.js';
import { getCluster } from './presets.js';

/** Devices of the whole cluster in the order of ranks, read out of the words of a part of one or two tiers. */
function devicesSaid(whole: Cluster, part: Cluster): number[] {
  const perNode = whole.tiers[0]?.size ?? 1;
  const { used = '' } = part.part ?? {};
  const [, runs] = /devices? ([\d to and]+?) of the/u.exec(used) ?? [];
  const local =
    runs === undefined
      ? Array.from({ length: perNode }, (_, device) => device)
      : runs.split(' and ').flatMap((run) => {
          const [first = 0, last = first] = run.split(' to ').map(Number);
          return Array.from({ length: last - first + 1 }, (_, at) => first + at);
        });
  const nodes = Number(/^(\d+) of \d+ nodes/u.exec(used)?.[1] ?? 1);
  return Array.from({ length: nodes }, (_, node) => local.map((device) => node * perNode + device)).flat();
}

/** A way between two devices, with whose ports it shares. */
const wayOf = (cluster: Cluster, a: number, b: number) => {
  const way = route(cluster, a, b);
  return { ...way, rate: a === b ? 0 : routeBytesPerSecond(cluster, way) };
};

describe('fewer ranks than devices', () => {
  test.each([
    ['gb200-nvl72', 64],
    ['gb200-4x72', 64],
    ['h100-1x8', 1],
    ['h100-4x8', 8],
    ['h100-4x8', 12],
    ['h100-16x8', 40],
    ['a800-4x8', 12],
    ['a800-4x8', 10],
    ['a800-4x8-1nic', 12],
    ['a800-4x8-2nic', 14],
  ])('%s with %d ranks is the whole with the others silent', (name, ranks) => {
    const whole = getCluster(name);
    const part = occupiedCluster(whole, ranks);
    const devices = devicesSaid(whole, part);
    expect(deviceCount(part)).toBe(ranks);
    expect(new Set(devices).size).toBe(ranks);
    const renamed = new Map<number, number>();
    for (let a = 0; a < ranks; a++)
      for (let b = 0; b < ranks; b++) {
        const [one, all] = [wayOf(part, a, b), wayOf(whole, devices[a] ?? -1, devices[b] ?? -1)];
        expect([one.tier, one.latencySeconds, one.rate, one.slowdown]).toEqual([
          all.tier,
          all.latencySeconds,
          all.rate,
          all.slowdown,
        ]);
        if (whole.tiers[0]?.ports !== 1 && one.tier === 0) continue;
        // ports have other numbers, but who shares one with whom is the same
        [...one.egress, ...one.ingress].forEach((port, at) => {
          const of = [...all.egress, ...all.ingress][at] ?? -1;
          expect(renamed.get(port) ?? of).toBe(of);
          renamed.set(port, of);
        });
      }
    expect(new Set(renamed.values()).size).toBe(renamed.size);
  });

  test('fills as few leaves as it can, and says so', () => {
    const base = getCluster('h100-16x8');
    const [inner, outer] = base.tiers;
    if (inner === undefined || outer === undefined) throw new Error('two tiers');
    const leaf = { ...outer, name: 'leaf', size: 4 };
    const cluster = { ...base, tiers: [inner, leaf, { ...outer, name: 'spine', size: 4, ports: 16 }] };
    const sizes = (ranks: number) => occupiedCluster(cluster, ranks).tiers.map(({ size }) => size);
    expect(sizes(32)).toEqual([8, 4]);
    expect(sizes(48)).toEqual([8, 3, 2]);
    expect(occupiedCluster(cluster, 48).part).toEqual({
      ofDevices: 128,
      used: '6 of 16 nodes, 3 of 4 under each leaf; all 8 devices of each',
    });
  });

  test('keeps blocks on a node where that can be', () => {
    const cluster = getCluster('h100-4x8');
    expect(occupiedCluster(cluster, 12).tiers.map(({ size }) => size)).toEqual([6, 2]);
    expect(occupiedCluster(cluster, 12, 4).tiers.map(({ size }) => size)).toEqual([4, 3]);
    expect(occupiedCluster(cluster, 16, 16).tiers.map(({ size }) => size)).toEqual([8, 2]);
  });

  test('refuses what no equal filling gives', () => {
    const cluster = getCluster('h100-2x8');
    expect(() => occupiedCluster(cluster, 13)).toThrow('13 ranks do not fill nodes of h100-2x8 equally');
    expect(() => occupiedCluster(cluster, 17)).toThrow('17 ranks on the 16 devices of h100-2x8');
  });
});
