import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/presets.js';
import { parseLayout } from '../layout/resolve.js';
import { worldSize } from '../layout/mesh.js';
import { getModel } from '../model/names.js';
import { countParameters } from '../model/parameters.js';
import type { MemorySetting, SharingName } from './index.js';
import { fitOf, nearestFit } from './fit.js';

const settingOf = (model: string, layout: string, sharing: SharingName = 'distributed-optimizer'): MemorySetting => ({
  step: {
    model: getModel(model),
    layout: parseLayout(layout),
    sequence: 4096,
    sequences: 1,
    microBatches: 8,
    dtype: 'bf16',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  },
  convention: 'megatron',
  sharing,
  precision: 'mixed',
  imbalance: 1,
});

describe('fit', () => {
  it.each([
    ['qwen3-30b-a3b', 'h100-1x8', 'dp=8', 'none'],
    ['llama4-maverick', 'h100-16x8', 'tp=8,dp=16,ep=16', 'distributed-optimizer'],
    ['kimi-k2', 'h100-32x8', 'tp=8,dp=32,ep=32', 'distributed-optimizer'],
  ] as const)(
    '%s on %s with %s does not fit; the nearest that does is on the same devices',
    (model, name, layout, sharing) => {
      const cluster = getCluster(name);
      const setting = settingOf(model, layout, sharing);
      expect(fitOf(setting, cluster).fits).toBe(false);
      const nearest = nearestFit(setting, cluster).setting;
      expect(nearest).toBeDefined();
      if (nearest === undefined) return;
      expect(worldSize(nearest.step.layout)).toBe(worldSize(setting.step.layout));
      expect(fitOf(nearest, cluster).fits).toBe(true);
    },
  );

  it('says what 2x70B needs at least on 16 A800, where nothing fits: its states alone are more', () => {
    const setting = settingOf('2x70b', 'tp=8,dp=2,ep=2');
    const cluster = getCluster('a800-2x8');
    const { setting: nearest, leastBytes } = nearestFit(setting, cluster);
    expect(nearest).toBeUndefined();
    // Weights, gradients, main weights and moments in 16 bits, 14 bytes a parameter, over all 16 devices.
    expect(leastBytes).toBeGreaterThan((countParameters(setting.step.model).total * 14) / 16);
    expect(leastBytes).toBeGreaterThan(cluster.device.memoryBytes);
    expect(leastBytes).toBeLessThan(fitOf(setting, cluster).totalBytes);
  });

  it('counts a forward beside another backward: says what fits one behind the other alone, and what is near', () => {
    const cluster = getCluster('h100-2x8');
    const behind = settingOf('mixtral-8x7b truncated to 8 layers', 'dp=16,ep=8');
    const { step } = behind;
    const beside = { ...behind, step: { ...step, passes: 'beside' as const } };
    const [least, most] = [fitOf(behind, cluster).totalBytes, fitOf(beside, cluster).totalBytes];
    // Both layers at work, and no second micro-batch whole: one's activations come as the other's go.
    expect(most - least).toBeGreaterThan(100 * 2 ** 20);
    expect(most).toBeLessThan(fitOf({ ...behind, step: { ...step, sequences: 2 } }, cluster).totalBytes);
    const between = { ...cluster, device: { ...cluster.device, memoryBytes: (least + most) / 2 } };
    expect(fitOf(behind, between).fits).toBe(true);
    expect(fitOf(beside, between).fits).toBe(false);
    const nearest = nearestFit(beside, between).setting;
    expect(nearest?.step).toEqual({ ...step, passes: 'behind', virtualStages: 1, recompute: 'none' });
  });

  it('names no etp of a model without experts, and what is preferred first', () => {
    const cluster = getCluster('h100-4x8');
    const setting = settingOf('llama-3-70b', 'tp=2,dp=16');
    expect(nearestFit(setting, cluster).setting?.step.layout).toMatchObject({ tp: 8, pp: 2, ep: 1, etp: 8 });
    const whole = nearestFit(setting, cluster, ({ step }) => step.layout.pp === 1).setting;
    expect(whole?.step.layout.pp).toBe(1);
    expect(whole && fitOf(whole, cluster).fits).toBe(true);
  });

  it('says that what was trained by others fits', () => {
    expect(fitOf(settingOf('qwen3-30b-a3b', 'dp=16,ep=16'), getCluster('h100-2x8')).fits).toBe(true);
  });
});
