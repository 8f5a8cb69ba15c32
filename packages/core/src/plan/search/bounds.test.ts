/** Least times of layouts against the prices of settings. */
import { describe, expect, it } from 'vitest';
import { pipelineSchedules, type RunSetting } from '../../estimate/index.js';
import { getCluster } from '../../cluster/index.js';
import { getModel } from '../../model/index.js';
import { Random } from '../../units/index.js';
import { planProblem } from '../space/problem.js';
import { timesWaiting } from './bounds.js';
import { randomSettings } from './random-settings.js';
import { EstimateModel } from './step-model.js';

describe('what stages wait for under a schedule', () => {
  it.each([
    ['deepseek-v3', 'h800-256x8', 15_360],
    ['qwen3-30b-a3b', 'h100-8x8', 512],
    ['llama3-8b', 'h100-4x8', 64],
  ])('%s on %s: no step is faster', (model, cluster, globalBatch) => {
    const problem = planProblem({ model: getModel(model), cluster: getCluster(cluster), globalBatch });
    const prices = new EstimateModel();
    const leastSeconds = (setting: RunSetting): number => {
      const { layout, virtualStages, microBatch, schedule, overlap } = setting;
      const floor = { ...setting, schedule: '1f1b', recompute: 'none', overlap: { ...overlap, ep: true } } as const;
      const microBatches = globalBatch / (layout.dp * microBatch);
      const point = { layout, virtualStages, microBatch, microBatches };
      return prices.floorSeconds(floor) * timesWaiting(point, schedule);
    };
    const settings = randomSettings(problem, 20_000, new Random(31));
    expect(settings.filter((setting) => leastSeconds(setting) > prices.seconds(setting))).toEqual([]);
    expect(new Set(settings.map(({ schedule }) => schedule))).toEqual(new Set(pipelineSchedules));
  });
});
