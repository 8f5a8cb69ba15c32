import { describe, expect, it } from 'vitest';
import { deviceCount, getCluster } from '../../cluster/index.js';
import { runSetting } from '../../estimate/index.js';
import { resolveLayout } from '../../layout/index.js';
import { getModel } from '../../model/index.js';
import { EstimateModel, Search } from '../search/index.js';
import { planProblem } from '../../../testing/plan-problem.js';
import { nearestPlan } from './nearest.js';
import { rankGrid } from './rank-grid.js';
import { oneNodeFewer, sensitivities, twiceTheNodes } from './sensitivity.js';

const problem = planProblem({ model: getModel('mixtral-8x7b truncated to 8 layers') });

describe('what would change a plan', () => {
  it('is slower over slower links and with uneven experts', () => {
    const search = new Search(problem, new EstimateModel());
    for (const { done } of search.run()) expect(done).toBeLessThanOrEqual(1);
    const { best, others } = search.result;
    const found = best === undefined ? [] : sensitivities(best, others, () => new EstimateModel());
    expect(found.map(({ name }) => name)).toHaveLength(3);
    const [network, , skew] = found;
    expect(network?.speed).toBeLessThan(1);
    expect(skew?.speed).toBeLessThan(1);
  });

  it('is told where the network between nodes is what counts', () => {
    const layouts = [
      { dp: 16, ep: 1 },
      { dp: 16, ep: 8 },
    ].map((degrees) => resolveLayout(degrees, 16));
    const [first, second] = layouts.map((layout, index) => ({
      setting: runSetting({ ...problem, layout, microBatch: 1 }),
      seconds: 1 + index,
      memoryBytes: 0,
    }));
    const prices = {
      memoryBytes: () => 0,
      leastMemoryBytes: () => 0,
      floorSeconds: () => 0,
      // The first pays for what crosses nodes.
      seconds: ({
        layout,
        cluster,
      }: {
        layout: { ep: number };
        cluster: { tiers: readonly { bytesPerSecond: number }[] };
      }) => (layout.ep === 1 ? 50e9 / (cluster.tiers[1]?.bytesPerSecond ?? 1) : 1.5),
    };
    const found = first && second ? sensitivities(first, [second], () => prices) : [];
    expect(found[0]?.speed).toBeCloseTo(0.5, 6);
    expect(found[0]?.flipsTo?.layout.ep).toBe(8);
    expect(found[1]?.flipsTo).toBeUndefined();
  });

  it('counts nodes', () => {
    const cluster = getCluster('h100-4x8');
    expect(deviceCount(oneNodeFewer(cluster) ?? cluster)).toBe(24);
    expect(deviceCount(twiceTheNodes(cluster) ?? cluster)).toBe(64);
    expect(deviceCount(twiceTheNodes(getCluster('h100-1x8')) ?? cluster)).toBe(16);
    expect(oneNodeFewer(getCluster('h100-1x8'))).toBeUndefined();
  });
});

describe('where nothing fits', () => {
  it('takes what is fixed away, then more nodes', () => {
    const model = getModel('mixtral-8x7b');
    const fixed = nearestPlan({ ...problem, model, fixed: { sharing: 'none' } }, () => new EstimateModel());
    expect(fixed?.change).toBe('nothing is fixed');
    const large = getModel('mixtral-8x22b');
    const more = nearestPlan({ ...problem, model: large, cluster: getCluster('h100-1x8') }, () => new EstimateModel());
    expect([more?.change, more === undefined ? 0 : deviceCount(more.cluster)]).toEqual(['more devices', 16]);
  });
});

describe('the picture of the ranks', () => {
  it('shows where TP, DP and stages lie', () => {
    const lines = rankGrid(resolveLayout({ tp: 4, dp: 2, pp: 4, ep: 2, etp: 4 }, 32), getCluster('h100-4x8'));
    expect(lines).toEqual([
      'stage 0  node 0  t0·d0·e0·x0  t1·d0·e0·x1  t2·d0·e0·x2  t3·d0·e0·x3  t0·d1·e1·x0  t1·d1·e1·x1  t2·d1·e1·x2  ' +
        't3·d1·e1·x3',
      expect.stringContaining('stage 3  node 3  t0·d0·e0·x0'),
    ]);
  });
});
