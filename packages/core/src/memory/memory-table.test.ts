/** The table that searches use against the closed form of each setting. */
import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/resolve.js';
import { checkModelLayout } from '../layout/check.js';
import { getModel } from '../model/names.js';
import type { Recompute } from '../schedule/recompute.js';
import { InputError } from '../units/errors.js';
import { maxOf } from '../units/index.js';
import { Random } from '../units/random.js';
import { MemoryTable } from './memory-table.js';
import type { MemorySetting } from './setting.js';
import { closedTotal } from './stage-memory.js';
import { checkWeightShards, noShards, sharingRules, shardsOn, type SharingName } from './states.js';

const recomputes: readonly Recompute[] = ['none', ['layernorm'], ['layernorm', 'mlp', 'moe'], 'full'];

function settingOf(random: Random, name: string, imbalance: number): MemorySetting {
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  const model = getModel(name);
  const [tp, pp] = [pick([1, 2, 4, 8]), pick([1, 2, 4, 8])];
  const layout = resolveLayout({
    tp,
    cp: pick([1, 1, 2, 4]),
    dp: pick([8, 16, 64]),
    pp,
    ep: model.experts > 0 ? pick([1, 4, 8, 16, 64]) : 1,
    etp: pick([1, tp]),
    sequenceParallel: tp > 1,
  });
  checkModelLayout(model, layout);
  const virtualStages = pp > 1 ? pick([1, 2, 3]) : 1;
  const sharing = pick(Object.keys(sharingRules) as SharingName[]);
  const weightShards = sharingRules[sharing].gradients ? noShards : { dense: pick([1, 2]), expert: pick([1, 2]) };
  checkWeightShards(weightShards, layout, sharing);
  return {
    step: {
      model,
      layout,
      virtualStages,
      sequence: 4096,
      sequences: pick([1, 1, 2, 3, 4, 16]),
      microBatches: pp * (1 + random.integer(8)),
      dtype: 'bf16',
      strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
      recompute: pick(recomputes),
    },
    convention: 'megatron',
    sharing,
    weightShards,
    precision: 'mixed',
    imbalance,
    activationAgain: random.uniform() < 0.3,
  };
}

describe('memory of many settings', () => {
  it.each([
    ['mixtral-8x7b', 1],
    ['qwen3-30b-a3b', 1],
    ['deepseek-v3', 1],
    ['llama3-8b', 1],
    ['mixtral-8x7b', 3],
    ['qwen3-30b-a3b', 1.5],
    ['qwen3-30b-a3b', 6],
    ['deepseek-v3', 20],
  ])('is that of each: %s with %d times the mean at the fullest rank', (name, imbalance) => {
    const random = new Random(17);
    let table: MemoryTable | undefined;
    const errors: number[] = [];
    while (errors.length < 20) {
      try {
        const setting = settingOf(random, name, imbalance);
        const { pp } = setting.step.layout;
        const stages = Array.from({ length: pp }, (_, stage) => closedTotal(setting, stage));
        table ??= new MemoryTable(setting);
        const { sharing, activationAgain, weightShards, step } = setting;
        const choice = { ...step, sharing, activationAgain, weightShards };
        errors.push(Math.abs(table.totalBytes(choice) / maxOf(stages) - 1));
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
      }
    }
    expect(maxOf(errors)).toBeLessThan(1e-12);
  });

  it('shards carried to another layout are such as it can have', () => {
    const random = new Random(6);
    const pick = (): number => 2 ** random.integer(5);
    for (let draw = 0; draw < 300; draw++) {
      const [tp, cp, dp] = [pick(), pick(), pick()];
      const layout = resolveLayout({ tp, cp, dp, ep: Math.min(pick(), tp * cp * dp), etp: 1 });
      const shards = shardsOn({ dense: pick(), expert: pick() }, layout);
      expect(() => checkWeightShards(shards, layout, 'distributed-optimizer')).not.toThrow();
    }
  });

  it('weights or gradients that all ranks share have no shards besides', () => {
    const layout = resolveLayout({ dp: 8 });
    for (const sharing of ['zero2', 'zero3', 'fsdp'] as const)
      expect(() => checkWeightShards({ dense: 2, expert: 1 }, layout, sharing)).toThrow('split over all ranks already');
  });
});
