import { describe, expect, it } from 'vitest';
import { getCluster, portsOf, type Cluster } from '../cluster/index.js';
import { affordableTimeScale, atMemorySpeed, fittingTimeScale } from './emulation-speed.js';

describe('the speed of an emulation', () => {
  const laptop = getCluster('laptop-2x4');
  const faster = (by: number): Cluster => ({
    ...laptop,
    tiers: laptop.tiers.map((tier) => ({ ...tier, bytesPerSecond: tier.bytesPerSecond * by })),
  });

  it('is as fast as the machine can carry, in steps of 1, 2 and 5', () => {
    const egress = (cluster: Cluster) =>
      portsOf(cluster)
        .filter(({ tier, direction }) => tier === 0 && direction === 'egress')
        .reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0);
    for (const by of [1e-3, 0.1, 1, 3, 10, 400]) {
      const scale = affordableTimeScale(faster(by));
      expect([1, 2, 5]).toContain(Math.round(scale / 10 ** Math.floor(Math.log10(scale))));
      // what is carried does not depend on the cluster, but for the step
      const carried = egress(faster(by)) / scale;
      expect(carried).toBeLessThanOrEqual(2e9);
      expect(scale === 1 || carried > 2e9 / 2.5).toBe(true);
    }
  });

  it('keeps the proportion of computing to communicating of accelerators', () => {
    const h100 = getCluster('h100-2x8');
    const scale = fittingTimeScale(h100, 16, 2);
    // two cores for 16 ranks: an eighth of a core each
    expect(scale).toBeCloseTo(Math.max(affordableTimeScale(h100), h100.device.flopsPerSecond.bf16 / 2 / (40e9 / 8)), 0);
    expect(fittingTimeScale(h100, 16, 4)).toBeLessThan(scale);
    expect(fittingTimeScale(laptop, 8, 2)).toBe(affordableTimeScale(laptop));
  });

  it('has one speed for all tiers where nothing is emulated', () => {
    expect(new Set(atMemorySpeed(laptop).tiers.map(({ bytesPerSecond }) => bytesPerSecond)).size).toBe(1);
  });
});
