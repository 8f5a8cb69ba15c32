/** The model that searches use against the plain forms of time and memory. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../../cluster/index.js';
import { estimateMemory, isDual, priceStep, stepConstants, type RunSetting } from '../../estimate/index.js';
import { resolveLayout } from '../../layout/index.js';
import { sharingRules } from '../../memory/index.js';
import { getModel } from '../../model/index.js';
import { maxOf, minOf, Random } from '../../units/index.js';
import type { PlanProblem } from '../space/problem.js';
import { randomSettings } from './random-settings.js';
import { EstimateModel } from './step-model.js';

const problem = (model: string, cluster: string, given: Partial<PlanProblem> = {}): PlanProblem => ({
  model: getModel(model),
  cluster: getCluster(cluster),
  sequence: 4096,
  globalBatch: 1536,
  bounds: {},
  fixed: {},
  precision: 'bf16',
  states: 'mixed',
  stack: 'graphs',
  imbalance: 1,
  ...given,
});

const problems = [
  problem('deepseek-v3', 'h800-256x8', { globalBatch: 15_360 }),
  problem('qwen3-30b-a3b', 'h100-8x8', { stack: 'eager', imbalance: 1.4 }),
  problem('mixtral-8x7b', 'gb200-1x72', { globalBatch: 576, precision: 'mxfp8', stack: 'fused' }),
  problem('llama3-8b', 'h100-4x8', { sequence: 8192, states: 'bf16-moments' }),
  problem('deepseek-v2', 'b200-1x8', { framework: 'deepspeed', globalBatch: 64 }),
];

const off = (one: number, other: number): number => Math.abs(one / other - 1);

describe('prices of many settings are those of each', () => {
  it.each(problems.map((asked) => [asked.model.name, asked] as const))('seconds: %s', (_, asked) => {
    const model = new EstimateModel();
    const settings = randomSettings(asked, 200, new Random(11));
    const worst = settings.map((setting) => off(model.seconds(setting), priceStep(setting, stepConstants).seconds));
    expect(maxOf(worst)).toBeLessThan(1e-12);
  });

  it.each(problems.map((asked) => [asked.model.name, asked] as const))('memory: %s', (_, asked) => {
    const model = new EstimateModel();
    const settings = randomSettings(asked, 12, new Random(12)).filter(({ schedule }) => !isDual(schedule));
    const worst = settings.map((setting) => off(model.memoryBytes(setting), estimateMemory(setting)));
    // Rows of a skewed routing are rounded up to whole ones.
    expect(maxOf(worst)).toBeLessThan(asked.imbalance === 1 ? 1e-12 : 1e-4);
  });

  it.each(problems.map((asked) => [asked.model.name, asked] as const))('memory is bounded: %s', (_, asked) => {
    // As a search asks: of every other one what ranks share changes, the rest stays.
    const settings = randomSettings(asked, 200, new Random(13)).flatMap((drawn, place, all) => {
      const { sharing, hostStates, weightShards } = all[place - 1] ?? drawn;
      return [drawn, ...(weightShards === undefined ? [{ ...drawn, sharing, hostStates, weightShards }] : [])];
    });
    const [bounds, plain] = [new EstimateModel(), new EstimateModel()];
    const least = settings.map((setting) => bounds.leastMemoryBytes(setting));
    // In another order, so that what is kept from the one before is something else.
    const bytes = [...settings].reverse().map((setting) => plain.memoryBytes(setting));
    bytes.reverse();
    const whole = ({ sharing, weightShards, schedule }: RunSetting): boolean =>
      !sharingRules[sharing].gradients && weightShards === undefined && schedule !== 'dualpipe';
    expect(settings.filter((_, place) => (least[place] ?? Infinity) > (bytes[place] ?? 0))).toEqual([]);
    expect(settings.filter((one, place) => whole(one) && least[place] !== bytes[place])).toEqual([]);
    expect(settings.filter(whole).length).toBeGreaterThan(20);
  });

  it('stages that somebody set are kept to', () => {
    const asked = problem('mixtral-8x7b', 'h100-4x8', { bounds: { pp: { min: 4, max: 4 } } });
    const [even] = randomSettings(asked, 400, new Random(2)).filter(
      ({ schedule, layersOfStages }) => schedule === '1f1b' && layersOfStages === undefined,
    );
    if (even === undefined) throw new Error('no plain pipeline among the settings');
    const uneven: RunSetting = { ...even, layersOfStages: [5, 8, 12, 7] };
    const model = new EstimateModel();
    expect(off(model.seconds(uneven), priceStep(uneven, stepConstants).seconds)).toBeLessThan(1e-12);
    expect(off(model.memoryBytes(uneven), estimateMemory(uneven))).toBeLessThan(1e-12);
    expect(model.seconds(uneven)).toBeGreaterThan(model.seconds(even));
  });

  const pipeline = (given: Partial<RunSetting>): RunSetting => {
    const asked = problem('deepseek-v3', 'h800-256x8', { bounds: { pp: { min: 16, max: 16 } } });
    const [setting] = randomSettings(asked, 400, new Random(5)).filter(
      ({ schedule, layout, microBatch, globalBatch }) =>
        schedule === '1f1b' && layout.ep > 8 && globalBatch / (layout.dp * microBatch) >= 32,
    );
    if (setting === undefined) throw new Error('no pipeline with enough micro-batches');
    const { layersOfStages: _, ...even } = setting;
    return { ...even, recompute: 'none', sharing: 'distributed-optimizer', ...given };
  };

  it('DualPipe in a V needs no second copy of the weights, and keeps one micro-batch more than 1F1B', () => {
    const model = new EstimateModel();
    const folded = pipeline({ schedule: 'dualpipe-v', virtualStages: 2 });
    const [v, dual, plain] = [folded, pipeline({ schedule: 'dualpipe' }), pipeline({})].map((one) =>
      model.memoryBytes(one),
    );
    const { seconds: priced } = priceStep(folded, stepConstants);
    expect(off(model.seconds(folded), priced)).toBeLessThan(1e-12);
    expect(v).toBeLessThan(dual ?? 0);
    expect(off(v ?? 0, plain ?? 1)).toBeLessThan(0.25);
    // Fewer stages wait than in 1F1B, and exchanges hide.
    expect(priced).toBeLessThan(priceStep(pipeline({}), stepConstants).seconds);
  });

  it('the second copy of DualPipe is split over ranks as the first', () => {
    const model = new EstimateModel();
    const layout = resolveLayout({ dp: 128, pp: 16, ep: 32 });
    const second = (given: Partial<RunSetting>): number => {
      const [dual, plain] = (['dualpipe', '1f1b'] as const).map((schedule) =>
        pipeline({ layout, microBatch: 1, ...given, schedule }),
      );
      return dual === undefined || plain === undefined ? 0 : model.memoryBytes(dual) - model.memoryBytes(plain);
    };
    const { dp, edp } = layout;
    // DeepSeek-V3: 256 experts of three products of 7,168 x 2,048 in each of 61 layers; allocators keep a share beside.
    const experts = ((3 * 7168 * 2048 * 256) / 32) * (61 / 16);
    const whole = second({});
    expect(whole / (6 * experts)).toBeGreaterThan(1);
    // Elements of experts are the more: the share of the whole that a rule leaves lies between that of either kind.
    const between = (bytes: number, ...shares: number[]): void => {
      expect(bytes / whole).toBeGreaterThanOrEqual(minOf(shares) * 0.999);
      expect(bytes / whole).toBeLessThanOrEqual(maxOf(shares) * 1.001);
    };
    expect(edp).toBe(4);
    between(second({ sharing: 'fsdp' }), 1 / dp, 1 / edp);
    between(second({ sharing: 'zero2' }), (2 + 4 / dp) / 6, (2 + 4 / edp) / 6);
    between(second({ weightShards: { dense: 2, expert: 2 } }), 1 / 2);
  });

  it('gradients that are split are reduced for every micro-batch: slower, and smaller', () => {
    const model = new EstimateModel();
    const [whole, split] = (['distributed-optimizer', 'zero2'] as const).map((sharing) => pipeline({ sharing }));
    if (whole === undefined || split === undefined) throw new Error('two settings');
    expect(model.memoryBytes(split)).toBeLessThan(model.memoryBytes(whole));
    expect(model.seconds(split)).toBeGreaterThan(model.seconds(whole));
    const single = { ...whole, globalBatch: whole.layout.dp * whole.microBatch };
    expect(priceStep({ ...single, sharing: 'zero2' }, stepConstants).seconds).toBe(
      priceStep(single, stepConstants).seconds,
    );
  });
});
