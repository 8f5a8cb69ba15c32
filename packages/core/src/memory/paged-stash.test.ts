import { expect, it } from 'vitest';
import { settingOfPeak } from './predict-published.js';
import type { MemorySetting } from './setting.js';
import { closedTotal, noOverheads, stageMemory } from './stage-memory.js';

const settingOf = (change: Partial<MemorySetting>): MemorySetting => ({
  ...settingOfPeak({
    source: 'made',
    model: 'qwen3-30b-a3b truncated to 8 layers',
    layout: 'dp=8,ep=8',
    sequence: 4096,
    microBatches: [2],
    allocatedGib: 0,
  }),
  ...change,
});

const peakOf = (change: Partial<MemorySetting>): number => stageMemory(settingOf(change), 0, noOverheads).totalBytes;

it('a paged stash keeps what is routed, and one layer at the capacity of the rank', () => {
  const [balanced, capacity, stashed] = [
    peakOf({}),
    peakOf({ imbalance: 4 }),
    peakOf({ imbalance: 4, pagedStash: 1.1 }),
  ];
  // The peak is in the head, where all layers lie in pages, a tenth more than balanced.
  expect(stashed).toBeLessThan(balanced + (capacity - balanced) / 2);
  expect(stashed).toBeGreaterThan(balanced);
  // What is kept of a layer grows with the pool alone.
  const kept = (pagedStash: number): number =>
    stageMemory(settingOf({ imbalance: 4, pagedStash }), 0, noOverheads).activity.saved;
  expect((kept(2) - kept(1.5)) / (kept(1.5) - kept(1))).toBeCloseTo(1, 2);
  const setting = settingOf({ imbalance: 4, pagedStash: 1.1 });
  expect(Math.abs(closedTotal(setting, 0, noOverheads) / stashed - 1)).toBeLessThan(0.01);
});
