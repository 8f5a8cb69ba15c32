import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Cluster, Tier } from './cluster.js';
import { deviceCount, portNumber, portsOf, route, routeBytesPerSecond, tierBetween, unitOf } from './ports.js';
import { getCluster } from './presets.js';

const tierOf = (size: number, ports: number, extra: Partial<Tier> = {}): Tier => ({
  name: `t${size}`,
  size,
  bytesPerSecond: 1e9,
  latencySeconds: 1e-6,
  ports,
  railAligned: false,
  crossRailSlowdown: 1,
  ...extra,
});
const clusterOf = (tiers: Tier[]): Cluster => ({ ...getCluster('a800-2x8'), name: 'test', tiers });

const clusters = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 3 })
  .map((shape) => {
    let below = 1;
    return clusterOf(
      shape.map(([size, ports]) => {
        const tier = tierOf(size, Math.min(ports, below));
        below *= size;
        return { ...tier, name: `t${below}` };
      }),
    );
  });

describe('ports', () => {
  it('are numbered densely, and each tier has as many as its owners own', () => {
    fc.assert(
      fc.property(clusters, (cluster) => {
        const ports = portsOf(cluster);
        expect(ports.map((port) => port.id)).toEqual([...ports.keys()]);
        let owners = deviceCount(cluster);
        for (const [t, tier] of cluster.tiers.entries()) {
          expect(ports.filter((port) => port.tier === t).length).toBe(owners * tier.ports * 2);
          owners /= tier.size;
        }
        expect(owners).toBe(1);
      }),
    );
  });

  it('gives runs of devices to each port: two devices per NIC with four NICs a node', () => {
    const cluster = getCluster('a800-2x8');
    expect(Array.from({ length: 16 }, (_, d) => portNumber(cluster, 1, d))).toEqual([
      0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3,
    ]);
    const uneven = clusterOf([tierOf(8, 1), tierOf(2, 3)]);
    expect(Array.from({ length: 8 }, (_, d) => portNumber(uneven, 1, d))).toEqual([0, 0, 0, 1, 1, 1, 2, 2]);
  });
});

describe('route', () => {
  it('crosses the lowest tier that joins both, with that tier’s latency, through owned ports on both sides', () => {
    fc.assert(
      fc.property(clusters, fc.nat(), fc.nat(), (cluster, x, y) => {
        const n = deviceCount(cluster);
        const [a, b] = [x % n, y % n];
        const way = route(cluster, a, b);
        // Slow twin: walk outwards until the units meet.
        let [u, v, tier] = [a, b, -1];
        while (u !== v) {
          tier++;
          u = Math.floor(u / cluster.tiers[tier].size);
          v = Math.floor(v / cluster.tiers[tier].size);
        }
        expect(way.tier).toBe(tier);
        expect(tierBetween(cluster, b, a)).toBe(tier);
        if (a === b) return;
        expect(way.latencySeconds).toBe(cluster.tiers[tier].latencySeconds);
        const ports = portsOf(cluster);
        const tiers = tier === 0 ? [0] : Array.from({ length: tier }, (_, i) => i + 1);
        for (const [side, device, direction] of [
          [way.egress, a, 'egress'],
          [way.ingress, b, 'ingress'],
        ] as const) {
          expect(side.map((id) => ports[id].tier)).toEqual(tiers);
          for (const id of side) {
            const port = ports[id];
            expect(port.direction).toBe(direction);
            expect(port.unit).toBe(port.tier === 0 ? device : unitOf(cluster, port.tier - 1, device));
            expect(port.port).toBeLessThan(cluster.tiers[port.tier].ports);
          }
        }
      }),
    );
  });

  it('crosses a spine through the NIC and the uplink of both sides, and not through NVLink', () => {
    const cluster = clusterOf([
      tierOf(4, 1),
      tierOf(2, 4),
      { ...tierOf(2, 2), bytesPerSecond: 5e8, latencySeconds: 9e-6 },
    ]);
    const ports = portsOf(cluster);
    const way = route(cluster, 3, 12);
    expect(way.tier).toBe(2);
    expect(way.egress.map((id) => [ports[id].tier, ports[id].unit, ports[id].port])).toEqual([
      [1, 0, 3],
      [2, 0, 0],
    ]);
    expect(way.ingress.map((id) => [ports[id].tier, ports[id].unit, ports[id].port])).toEqual([
      [1, 3, 0],
      [2, 1, 1],
    ]);
    expect(way.latencySeconds).toBe(9e-6);
    expect(routeBytesPerSecond(cluster, way)).toBe(5e8);
  });

  it('slows only traffic that changes rails', () => {
    const cluster = clusterOf([tierOf(4, 1), tierOf(2, 4, { railAligned: true, crossRailSlowdown: 2.2 })]);
    expect(route(cluster, 1, 5).slowdown).toBe(1);
    expect(route(cluster, 1, 6).slowdown).toBe(2.2);
    expect(route(cluster, 1, 2).slowdown).toBe(1);
    expect(routeBytesPerSecond(cluster, route(cluster, 1, 6))).toBe(1e9 / 2.2);
  });

  it('takes no port within a device, and refuses devices that are not there', () => {
    const cluster = getCluster('a800-2x8');
    expect(route(cluster, 3, 3)).toEqual({ tier: -1, egress: [], ingress: [], latencySeconds: 0, slowdown: 1 });
    expect(() => route(cluster, 0, 16)).toThrow('device 16 is not in a800-2x8, which has 16');
  });

  it('refuses figures that no network has, as a disturbed measurement may bring them', () => {
    for (const odd of [{ bytesPerSecond: -1e9 }, { bytesPerSecond: NaN }, { latencySeconds: -1e-6 }])
      expect(() => portsOf(clusterOf([tierOf(4, 1, odd)]))).toThrow(/tier .* has .* bytes\/s and a latency of/u);
  });
});
