/** Every model that is known by name gets a plan, or hears what would do. */
import { describe, expect, it } from 'vitest';
import { deviceCount, getCluster } from '../../cluster/index.js';
import { estimateMemory, estimateStep, evenLayers } from '../../estimate/index.js';
import { checkModelLayout } from '../../layout/index.js';
import { countParameters, getModel, modelPresets } from '../../model/index.js';
import { EstimateModel, Search } from '../search/index.js';
import type { PlanProblem } from '../space/problem.js';
import { firstRefusal } from '../space/rules.js';
import { nearestPlan } from './nearest.js';

const problemOf = (name: string, cluster: string): PlanProblem => ({
  model: getModel(name),
  cluster: getCluster(cluster),
  sequence: 1024,
  globalBatch: 256,
  bounds: {},
  fixed: {},
  precision: 'bf16',
  states: 'mixed',
  stack: 'fused',
  imbalance: 1,
  framework: 'megatron',
});

describe('every model', () => {
  it.each([...modelPresets.keys()])('%s has a plan on 8 devices, or hears how many it needs', (name) => {
    const problem = problemOf(name, 'h100-1x8');
    const { memoryBytes } = problem.cluster.device;
    const search = new Search(problem, new EstimateModel());
    for (const { done } of search.run()) expect(done).toBeLessThanOrEqual(1);
    const { best } = search.result;
    const nearest = best === undefined ? nearestPlan(problem, () => new EstimateModel()) : undefined;
    const setting = (best ?? nearest?.best)?.setting;
    if (setting === undefined) throw new Error('neither a plan nor what is near');
    const { layout, model, virtualStages, microBatch, globalBatch, cluster } = setting;
    // Judged by what the search does not use: the rules from the first to the last, the program's memory, FLOPs.
    checkModelLayout(model, layout);
    const held = setting.layersOfStages ?? evenLayers(model.layers, layout.pp * virtualStages, model.multiTokenLayers);
    const firstStageLayers = held[0] ?? 0;
    const lastStageLayers = held.at(-1) ?? 0;
    const degrees = { ...layout, virtualStages, firstStageLayers, lastStageLayers, microBatch };
    expect(firstRefusal(degrees, { ...problem, cluster, globalBatch })).toBeUndefined();
    expect(estimateMemory(setting)).toBeLessThan(memoryBytes * 1.01);
    const { seconds, boundSeconds } = estimateStep(setting);
    expect(seconds).toBeGreaterThan(boundSeconds);
    // What fits on fewer devices is no reason to ask for more: states alone fill half of what was too few.
    const states = 16 * countParameters(model).total;
    const asked = nearest === undefined ? 0 : deviceCount(nearest.cluster) / 2;
    expect(asked * memoryBytes).toBeLessThan(3 * states);
  });
});
