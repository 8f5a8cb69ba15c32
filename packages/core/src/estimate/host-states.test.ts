/** The optimizer's states on hosts: what the device is spared, and what it waits for. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { resolveLayout } from '../layout/index.js';
import { countParameters, getModel } from '../model/index.js';
import { estimateMemory } from './estimate-memory.js';
import { hostOf, hostUpdateSeconds } from './host-states.js';
import { runSetting } from './run-setting.js';
import { priceStep } from './step-prices.js';
import { stepConstants } from './constants.js';

const setting = runSetting({
  model: getModel('llama-3-8b'),
  cluster: getCluster('h100-1x8'),
  layout: resolveLayout({ dp: 8 }),
  sequence: 4096,
  microBatch: 1,
  globalBatch: 64,
});
const onHosts = { ...setting, hostStates: true };

describe("the optimizer's states on hosts", () => {
  it('free 12 bytes of every parameter that a rank updates', () => {
    const parameters = countParameters(setting.model).total / 8;
    const freed = estimateMemory(setting) - estimateMemory(onHosts);
    // Allocators keep a share of what is allocated beside it.
    expect(freed / (12 * parameters)).toBeGreaterThan(0.99);
    expect(freed / (12 * parameters)).toBeLessThan(1.1);
  });

  it('take the update by the port and the memory of the host', () => {
    const own = countParameters(setting.model).total / 8;
    const { optimizer } = priceStep(onHosts, stepConstants);
    expect(optimizer / (own * (6 / 63e9 + (30 * 8) / 614.4e9))).toBeCloseTo(1, 2);
    expect(optimizer).toBeGreaterThan(20 * priceStep(setting, stepConstants).optimizer);
  });

  it('have a Grace of their own beside a GH200, and half of one beside a GB200', () => {
    const { device } = getCluster('gb200-1x72');
    const [pair, own] = [device, { ...device, name: 'GH200-96GB' }].map(hostUpdateSeconds);
    // NVIDIA's datasheets: 900 GB/s of NVLink-C2C both ways, 512 GB/s of LPDDR5X a Grace
    expect(own).toBeCloseTo(6 / 450e9 + 30 / 512e9, 15);
    expect((pair ?? 0) / (own ?? 1)).toBeCloseTo(2, 9);
  });

  it('are no matter of devices without a known port', () => {
    const { device } = getCluster('h100-1x8');
    expect(hostOf({ ...device, name: 'something' })).toBeUndefined();
    expect(hostUpdateSeconds({ ...device, name: 'something' })).toBe(Infinity);
  });
});
