import { describe, expect, it } from 'vitest';
import { getCluster } from '../../cluster/index.js';
import { estimateStep, runSetting, type RunSetting } from '../../estimate/index.js';
import { formatLayout, resolveLayout, type PartialLayout } from '../../layout/index.js';
import { getModel } from '../../model/index.js';
import { maxOf, Random } from '../../units/index.js';
import { randomSettings } from '../search/random-settings.js';
import { planProblem } from '../space/problem.js';
import { stepTraffic, wireBounds, type DimensionTraffic } from './step-traffic.js';

const model = getModel('mixtral-8x7b');
const [tokens, row] = [4096, model.hiddenSize * 2];

function trafficOf(degrees: PartialLayout, given: Partial<RunSetting> = {}): Map<string, DimensionTraffic> {
  const cluster = getCluster('h100-2x8');
  const layout = resolveLayout(degrees, 16);
  const setting = runSetting({
    model,
    cluster,
    layout,
    sequence: tokens,
    microBatch: 1,
    globalBatch: layout.dp,
    ...given,
  });
  return new Map(stepTraffic(setting).map((one) => [one.dimension, one]));
}

describe('bytes of a step by dimension and tier', () => {
  it('sends as many rows to experts as routing asks for, there and back, forward and backward', () => {
    const rows = model.topK * tokens * 4 * model.layers;
    const inside = trafficOf({ pp: 2, ep: 8 }, { dispatcher: 'all_to_all', globalBatch: 8 }).get('EP');
    expect(inside?.bytes).toBeCloseTo((rows / 2) * row * (7 / 8), -3);
    expect(inside).toMatchObject({ tier: 'nvlink', tierBytes: inside?.bytes });
    const across = trafficOf({ ep: 8, tp: 2, etp: 2 }, { dispatcher: 'all_to_all' }).get('EP');
    // Half of the rows of a rank belong to the other node.
    expect(across?.tierBytes).toBeCloseTo((rows / 2) * row * 0.5, -3);
    expect(across?.tier).toBe('infiniband');
  });

  it('crosses the network once a token and node where rows are deduplicated', () => {
    const degrees = { ep: 8, tp: 2, etp: 2 };
    const [each, once] = (['all_to_all', 'deduplicated'] as const).map((dispatcher) =>
      trafficOf(degrees, { dispatcher }),
    );
    // Two experts of two nodes touch 1.5 nodes in the mean.
    expect((once?.get('EP')?.tierBytes ?? 0) / (each?.get('EP')?.tierBytes ?? 1)).toBeCloseTo(0.75, 6);
  });

  it('reduces gradients in rings over all replicas', () => {
    const { bytes = 0, tierBytes = 0, tier } = trafficOf({ dp: 16, ep: 1 }).get('DP') ?? {};
    const weights = model.layers * (4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 8 * 4096 * 14336);
    // Gradients in 32 bits there, weights in 16 bits back, 15/16 of them each.
    expect(bytes / (weights * 6 * (15 / 16))).toBeCloseTo(1, 2);
    expect(tier).toBe('infiniband');
    // A ring enters and leaves a node once: one of its eight devices sends over the network.
    expect(tierBytes).toBe(bytes / 8);
  });

  it('reduces split gradients for every micro-batch, and gathers shards twice in each', () => {
    const bytes = (given: Partial<RunSetting>): number =>
      trafficOf({ dp: 16, ep: 1 }, { globalBatch: 512, ...given }).get('DP')?.bytes ?? 0;
    // An element of 16 ranks, 32 micro-batches: (32 x 4 + 2) 15/16 bytes in place of (4 + 2) 15/16.
    expect(bytes({ sharing: 'zero2' }) / bytes({})).toBeCloseTo(130 / 6, 9);
    // Over four shards 32 x (4 + 2 x 2) 3/4, a quarter of it over four replicas of them (4 + 2) 3/4.
    const shards = trafficOf({ dp: 16, ep: 1 }, { globalBatch: 512, weightShards: { dense: 4, expert: 4 } }).get('DP');
    expect((shards?.bytes ?? 0) / bytes({})).toBeCloseTo((256 * (3 / 4) + (6 / 4) * (3 / 4)) / (6 * (15 / 16)), 9);
    // Shards lie in a node: what crosses is the replicas', two of which a node holds of either kind.
    expect(shards?.tierBytes).toBeCloseTo((bytes({}) * ((6 / 4) * (3 / 4))) / (6 * (15 / 16)) / 2, -3);
  });

  it('counts what experts share by their own ranks: one a node sends all of it over the network', () => {
    const { bytes = 0, tierBytes = 0 } = trafficOf({ dp: 16, ep: 8 }).get('DP') ?? {};
    const experts = model.layers * 3 * 4096 * 14336 * 6 * (1 / 2);
    expect(tierBytes).toBeCloseTo(experts + (bytes - experts) / 8, -3);
  });

  it('gathers rows of all ranks by a ring, which a node enters and leaves once', () => {
    const sent = trafficOf({ ep: 8, tp: 2, etp: 2 }, { dispatcher: 'gathered' });
    const once = 4 * model.layers * (tokens / 2) * row;
    expect(sent.get('EP')?.bytes).toBeCloseTo(once * 7, -3);
    // Two ranks of an expert side by side: four of the eight in a node.
    expect(sent.get('EP')?.tierBytes).toBeCloseTo((once * 7) / 4, -3);
    // Each then has what the other gathered.
    expect(sent.get('ETP')).toMatchObject({ ranks: 2, tier: 'nvlink' });
    expect(sent.get('ETP')?.bytes).toBeCloseTo(once * 8, -3);
  });

  it.each([
    ['deepseek-v3', 'h100-32x8', 2048],
    ['mixtral-8x7b', 'a100-8x8', 256],
    ['gpt-oss-120b', 'gb200-nvl72', 288],
  ])('needs no longer at line rate than the step takes: %s on %s', (name, clusterName, globalBatch) => {
    const problem = planProblem({ model: getModel(name), cluster: getCluster(clusterName), globalBatch });
    for (const setting of randomSettings(problem, 400, new Random(3))) {
      const wires = wireBounds(setting.cluster, stepTraffic(setting)).map(({ seconds }) => seconds);
      const share = maxOf([0, ...wires]) / estimateStep(setting).seconds;
      // What is reduced once a step is priced apart from what travels in its passes.
      expect({ layout: formatLayout(setting.layout), share }).toSatisfy((one: { share: number }) => one.share <= 1.02);
    }
  });

  it('says nothing of dimensions that are not there', () => {
    expect([...trafficOf({ dp: 16, ep: 8 }).keys()].sort()).toEqual(['DP', 'EP']);
    expect([...trafficOf({ tp: 2, cp: 2, pp: 2, dp: 2 }, { globalBatch: 4 }).keys()].sort()).toEqual([
      'CP',
      'DP',
      'ETP',
      'PP',
      'TP',
    ]);
  });
});
