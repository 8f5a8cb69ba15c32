/** Plans that are judged by simulation against settings simulated one by one; npm run docs:estimate shows more. */
import { describe, expect, it } from 'vitest';
import { againstAll, againstRandom } from './against-random.js';

describe('the plan that the simulator chooses', () => {
  it.each([
    { model: 'olmoe-1b-7b', layers: 2, cluster: 'a100-2x1', globalBatch: 2, sequence: 1024 },
    { model: 'qwen3-30b-a3b', layers: 2, cluster: 'h100-2x1', globalBatch: 2, sequence: 4096 },
  ])('is the fastest of all settings of a small space: $model on $cluster', (space) => {
    const { settings, seconds, fastestSeconds, faster } = againstAll(space);
    expect(settings).toBeGreaterThan(20);
    expect(faster).toBe(0);
    expect(seconds / fastestSeconds).toBeCloseTo(1, 9);
  });

  it('is not beaten by random settings', () => {
    const space = { model: 'qwen3-30b-a3b', layers: 4, cluster: 'h100-2x2', globalBatch: 8, sequence: 2048 };
    expect(againstRandom(space, 6, 50)).toMatchObject({ settings: 6, faster: 0 });
  });
});
