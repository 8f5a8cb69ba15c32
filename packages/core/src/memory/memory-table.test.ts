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
import { sharingRules, type SharingName } from './states.js';

const recomputes: readonly Recompute[] = ['none', ['layernorm'], ['layernorm', 'mlp', 'moe'], 'full'];

function settingOf(random: Random, name: string): MemorySetting {
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
    sharing: pick(Object.keys(sharingRules) as SharingName[]),
    precision: 'mixed',
    imbalance: 1,
    activationAgain: random.uniform() < 0.3,
  };
}

describe('memory of many settings', () => {
  it.each(['mixtral-8x7b', 'qwen3-30b-a3b', 'deepseek-v3', 'llama3-8b'])('is that of each: %s', (name) => {
    const random = new Random(17);
    let table: MemoryTable | undefined;
    const errors: number[] = [];
    while (errors.length < 20) {
      try {
        const setting = settingOf(random, name);
        const { pp } = setting.step.layout;
        const stages = Array.from({ length: pp }, (_, stage) => closedTotal(setting, stage));
        table ??= new MemoryTable(setting);
        const { sharing, activationAgain, step } = setting;
        errors.push(Math.abs(table.totalBytes({ ...step, sharing, activationAgain }) / maxOf(stages) - 1));
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
      }
    }
    expect(maxOf(errors)).toBeLessThan(1e-12);
  });
});
