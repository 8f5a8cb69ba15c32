import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/presets.js';
import { parseLayout } from '../layout/resolve.js';
import { worldSize } from '../layout/mesh.js';
import { getModel } from '../model/names.js';
import type { MemorySetting, SharingName } from '../memory/index.js';
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
    ['2x70b', 'a800-2x8', 'tp=8,dp=2,ep=2', 'distributed-optimizer'],
  ] as const)(
    '%s on %s with %s does not fit; the nearest that does is on the same devices and fits',
    (model, name, layout, sharing) => {
      const cluster = getCluster(name);
      const asked = settingOf(model, layout, sharing);
      expect(fitOf(asked, cluster).fits).toBe(false);
      const nearest = nearestFit(asked, cluster);
      console.log(
        model,
        nearest &&
          JSON.stringify({
            ...nearest.step.layout,
            r: nearest.step.recompute,
            s: nearest.sharing,
            p: nearest.precision,
          }),
      );
      if (nearest === undefined) return;
      expect(worldSize(nearest.step.layout)).toBe(worldSize(asked.step.layout));
      expect(fitOf(nearest, cluster).fits).toBe(true);
    },
  );

  it('says that what was trained by others fits', () => {
    expect(fitOf(settingOf('qwen3-30b-a3b', 'dp=16,ep=16'), getCluster('h100-2x8')).fits).toBe(true);
  });
});
