import { describe, expect, it } from 'vitest';
import { parseLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { countParameters } from '../model/parameters.js';
import { quantile } from '../units/quantiles.js';
import type { Recompute } from '../schedule/recompute.js';
import type { ConventionChanges } from './convention.js';
import { predictPublished, settingOfPeak } from './predict-published.js';
import { deepSeekBreakdown } from './published-breakdown.js';
import type { PublishedPeak } from './published-peaks.js';
import type { MemorySetting } from './setting.js';
import { stageMemory } from './stage-memory.js';

const peak: PublishedPeak = {
  source: 'made',
  model: '',
  layout: 'tp=1',
  sequence: 4096,
  microBatches: [1],
  allocatedGib: 0,
};

describe('published peaks of memory', () => {
  it('are met within 3 % in the median and 7 % in nine of ten', () => {
    const predicted = predictPublished();
    const runs = predicted
      .flatMap(({ row, error }) => row.microBatches.map(() => Math.abs(error)))
      .sort((a, b) => a - b);
    expect(runs.length).toBeGreaterThanOrEqual(37);
    expect(quantile(runs, 0.5)).toBeLessThan(0.03);
    expect(quantile(runs, 0.9)).toBeLessThan(0.07);
  });
});

describe('what Megatron-Core keeps', () => {
  it('of latent attention are queries, keys and values once: nothing holds the projections they were cut from', () => {
    const setting = (name: string): MemorySetting => settingOfPeak({ ...peak, model: `${name} truncated to 2 layers` });
    const saved = (name: string, changes: ConventionChanges = {}): number =>
      stageMemory({ ...setting(name), ...changes }, 0).activity.saved;
    const rotation = { withoutRules: ['rotation'] } as const;
    expect(saved('deepseek-v2')).toBe(saved('deepseek-v2', rotation));
    // Two layers of 4,096 tokens with 32 heads of queries and 8 of keys, in 16 bits.
    expect(saved('llama3-8b') - saved('llama3-8b', rotation)).toBe(2 * 4096 * (32 + 8) * 128 * 2);
  });

  it('of layers that are computed again are their inputs alone, activations of experts and of dense layers too', () => {
    const saved = (model: string, layers: number, recompute: Recompute): number => {
      const setting = settingOfPeak({ ...peak, model: `${model} truncated to ${layers} layers` });
      return stageMemory({ ...setting, step: { ...setting.step, recompute } }, 0).activity.saved;
    };
    // A layer more: 4,096 tokens of 4,096 elements in 16 bits, and what routing decided.
    const more = (model: string, recompute: Recompute): number =>
      saved(model, 3, recompute) - saved(model, 2, recompute);
    for (const model of ['mixtral-8x7b', 'llama3-8b'])
      expect(more(model, 'full') / (4096 * 4096 * 2)).toBeCloseTo(1, 1);
    // Of a layer whose experts are computed again, none of the rows of their width: two picks a token.
    const kept = more('mixtral-8x7b', 'none') - more('mixtral-8x7b', ['moe']);
    expect(kept).toBeGreaterThanOrEqual(2 * 4096 * 3 * 14_336 * 2);
  });

  it('stands in for gradients of the kinds of layers that a stage holds, not of those on others', () => {
    const { model, layout } = { model: 'deepseek-v2 truncated to 4 layers', layout: 'dp=4,pp=2,ep=4' };
    const standIns = [0, 1].map(
      (stage) => stageMemory(settingOfPeak({ ...peak, model, layout }), stage).workspaceBytes,
    );
    // The first stage alone has a dense feed-forward: three products of 5,120 by 12,288, in 16 bits.
    expect((standIns[0] ?? 0) - (standIns[1] ?? 0)).toBe(3 * 5120 * 12_288 * 2);
  });
});

describe("DeepSeek-V3's published breakdown", () => {
  it('is met within 8 % each', () => {
    const parts = deepSeekBreakdown();
    expect(parts).toHaveLength(4);
    for (const { what, error } of parts)
      expect({ what, off: Math.abs(error) < 0.08 ? 0 : error }).toEqual({ what, off: 0 });
  });
});

describe('states', () => {
  const setting = (name: string, layout: string) =>
    ({
      step: {
        model: getModel(name),
        layout: parseLayout(layout),
        sequence: 2048,
        sequences: 1,
        microBatches: 1,
        dtype: 'bf16',
        strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
      },
      convention: 'megatron',
      precision: 'mixed',
      imbalance: 1,
    }) as const;

  it('of a whole model on one rank are 18 bytes a parameter', () => {
    for (const name of ['mixtral-8x7b', 'qwen3-30b-a3b', 'llama3-8b', 'gpt-oss-20b', 'deepseek-v2-lite']) {
      const { states } = stageMemory({ ...setting(name, 'tp=1'), sharing: 'none' }, 0);
      const model = getModel(name);
      const { total, multiToken } = countParameters(model);
      const bytes = states.weights + states.gradients + states.optimizer;
      expect(bytes / (total + multiToken)).toBeCloseTo(18, 2);
    }
  });

  it('of GPT-22B over 8 TP ranks are the published 45.6 GiB without embeddings (arXiv 2205.05198, figure 1)', () => {
    const { hiddenSize, layers } = { hiddenSize: 6144, layers: 48 };
    const model = { ...getModel('gpt-32b'), hiddenSize, layers, attentionHeads: 64, keyValueHeads: 64, headDim: 96 };
    const gpt = {
      ...model,
      denseFfn: 4 * hiddenSize,
      moeLayers: Array.from({ length: layers }, () => false),
      vocabSize: 8,
    };
    const of = setting('llama3-8b', 'tp=8');
    const { states } = stageMemory(
      { ...of, step: { ...of.step, model: { ...gpt, learnedPositions: 0 } }, sharing: 'none' },
      0,
    );
    const gib = (states.weights + states.gradients + states.optimizer) / 2 ** 30;
    expect(gib / 45.5625).toBeGreaterThan(0.99);
    expect(gib / 45.5625).toBeLessThan(1.01);
  });

  it('shrink with the ranks that share them, as the papers say', () => {
    const bytes = (sharing: 'none' | 'zero1' | 'zero2' | 'zero3', precision: 'half' | 'mixed' = 'half') => {
      const { states } = stageMemory({ ...setting('llama3-8b', 'dp=8'), sharing, precision }, 0);
      return (states.weights + states.gradients + states.optimizer) / countParameters(getModel('llama3-8b')).total;
    };
    // arXiv 1910.02054, figure 1: 16, 4 + 12/d, 2 + 14/d and 16/d bytes a parameter.
    expect(bytes('none')).toBeCloseTo(16, 3);
    expect(bytes('zero1')).toBeCloseTo(4 + 12 / 8, 3);
    expect(bytes('zero2')).toBeCloseTo(2 + 14 / 8, 3);
    expect(bytes('zero3')).toBeCloseTo(16 / 8, 3);
  });
});
