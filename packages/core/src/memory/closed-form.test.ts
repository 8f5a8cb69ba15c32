/** The search's closed form against the compiled program, over seeded layouts of models of every kind. */
import { describe, expect, it } from 'vitest';
import { checkModelLayout } from '../layout/check.js';
import { resolveLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { recomputeModules, type Recompute } from '../schedule/recompute.js';
import { InputError } from '../units/errors.js';
import { Random } from '../units/random.js';
import { conventions } from './convention.js';
import type { MemorySetting } from './setting.js';
import { closedTotal, noOverheads, stageMemory } from './stage-memory.js';
import { checkWeightShards, precisions, sharingRules, type PrecisionName, type SharingName } from './states.js';

const models = ['mixtral-8x7b', 'qwen3-30b-a3b', 'llama3-8b', 'olmoe-1b-7b', 'qwen2-57b-a14b', 'deepseek-v2'].flatMap(
  (name) => [12, 15].map((layers) => getModel(`${name} truncated to ${layers} layers`)),
);
const recomputes: readonly Recompute[] = ['none', 'selective', 'full', ...recomputeModules.map((one) => [one])];

function settingOf(random: Random): MemorySetting {
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  const model = pick(models);
  const degrees = [1, 2, 4, 8];
  const [tp, cp, dp, pp] = [pick(degrees), pick([1, 1, 2]), pick(degrees), pick([1, 2, 4])];
  const layout = resolveLayout({
    tp,
    cp,
    dp,
    pp,
    ep: pick(degrees),
    etp: pick([1, tp]),
    sequenceParallel: random.uniform() < 0.5,
  });
  checkModelLayout(model, layout);
  const virtualStages = pp > 1 ? pick([1, 2, 3]) : 1;
  const sharing = pick(Object.keys(sharingRules) as SharingName[]);
  const weightShards = sharingRules[sharing].gradients
    ? { dense: 1, expert: 1 }
    : { dense: pick([1, 1, 2]), expert: pick([1, 1, 2]) };
  checkWeightShards(weightShards, layout, sharing);
  return {
    step: {
      model,
      layout,
      virtualStages,
      sequence: 1024 * 2 ** random.integer(4),
      sequences: 1 + random.integer(2),
      microBatches: pp * (1 + random.integer(6)),
      dtype: 'bf16',
      strategy: {
        dispatch: 'sliced',
        combine: pick(['sliced', 'scattered']),
        chunks: { forward: 1 + random.integer(3), backward: 1 + random.integer(3) },
      },
      recompute: pick(recomputes),
      ...pick([{}, {}, { capacityFactor: 0.5 }, { capacityFactor: 1.25 }]),
      ...(pp === 1 ? pick([{}, {}, { passes: 'beside' as const }, { inFlight: 2 }]) : {}),
    },
    convention: pick(conventions),
    sharing,
    weightShards,
    precision: pick(Object.keys(precisions) as PrecisionName[]),
    imbalance: 1 + 2 * random.uniform(),
    activationAgain: random.uniform() < 0.3,
  };
}

describe('closed form', () => {
  it('agrees with the compiled program within 1 % on 500 seeded layouts', () => {
    const random = new Random(15);
    let [layouts, worst, worstOfPasses, recomputed, piped, gathered] = [0, 0, 0, 0, 0, 0];
    while (layouts < 500) {
      let setting: MemorySetting;
      try {
        setting = settingOf(random);
        const stage = random.integer(setting.step.layout.pp);
        const whole = stageMemory(setting, stage, noOverheads);
        // Both take states from the same place: what passes hold is compared alone too.
        const states = Object.values(whole.states).reduce((a, b) => a + b, 0) + whole.workspaceBytes;
        const closed = closedTotal(setting, stage, noOverheads);
        worst = Math.max(worst, Math.abs(closed / whole.totalBytes - 1));
        worstOfPasses = Math.max(worstOfPasses, Math.abs((closed - states) / (whole.totalBytes - states) - 1));
        recomputed += Number(setting.step.recompute !== 'none');
        gathered += Number(whole.activity.gathered > 0);
        piped += Number(setting.step.layout.pp > 1);
        layouts++;
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
      }
    }
    expect(worst).toBeLessThan(0.01);
    expect(worstOfPasses).toBeLessThan(0.01);
    expect(Math.min(recomputed, piped, gathered)).toBeGreaterThan(100);
  });
});
