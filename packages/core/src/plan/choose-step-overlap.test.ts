import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../testing/strategies.js';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { completeModel } from '../model/index.js';
import type { StepShape } from '../schedule/step-shape.js';
import { minOf } from '../units/index.js';
import { chooseStepOverlap } from './choose-step-overlap.js';
import { predictStep } from './predict-step.js';

const cluster = getCluster('a800-2x2');
const step: StepShape = {
  model: completeModel({
    name: 'small',
    hiddenSize: 1024,
    layers: 1,
    attentionHeads: 8,
    vocabSize: 512,
    experts: 8,
    topK: 2,
    expertFfn: 2048,
  }),
  layout: layoutOf({ tp: 2, dp: 2, ep: 2 }),
  sequence: 1024,
  sequences: 2,
  microBatches: 2,
  dtype: 'bf16',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
};
const workload = (of: StepShape) =>
  ({ cluster, step: of, routing: { kind: 'uniform' }, seed: 1, model: costModel(cluster.device) }) as const;

function seconds(reductions: 'beside' | 'behind', passes: 'beside' | 'behind'): number {
  const predicted = predictStep(workload({ ...step, reductions, passes }));
  if (!predicted.known) throw new Error(predicted.missing.join());
  return predicted.seconds;
}

function chosen(of: StepShape, options: Parameters<typeof chooseStepOverlap>[1]) {
  const choice = chooseStepOverlap(workload(of), options);
  if (!choice.known) throw new Error(choice.missing.join());
  return choice;
}

describe("overlap of a step's passes and reductions", () => {
  const all = (['beside', 'behind'] as const).flatMap((reductions) =>
    (['beside', 'behind'] as const).map((passes) => ({ passes, seconds: seconds(reductions, passes) })),
  );

  it('is the fastest of all four, where there is room', () => {
    const { prediction } = chosen(step, { roomForPasses: true });
    expect(prediction.seconds).toBe(minOf(all.map((one) => one.seconds)));
  });

  it.each([true, false])('says what the chosen step takes with each kind the other way, room %s', (roomForPasses) => {
    const { step: taken, prediction, verdicts } = chosen(step, { roomForPasses });
    const now = { reductions: taken.reductions ?? 'beside', passes: taken.passes ?? 'behind' } as const;
    const other = { beside: 'behind', behind: 'beside' } as const;
    const otherwise = [
      seconds(other[now.reductions], now.passes) - prediction.seconds,
      seconds(now.reductions, other[now.passes]) - prediction.seconds,
    ];
    expect(verdicts.map(({ otherwiseSeconds }) => otherwiseSeconds)).toEqual(otherwise);
    expect(verdicts.map(({ on }) => on)).toEqual([now.reductions === 'beside', now.passes === 'beside']);
  });

  it('keeps passes one after another without room, and what was given in any case', () => {
    const apart = chosen(step, { roomForPasses: false });
    const behind = all.filter(({ passes }) => passes === 'behind').map((one) => one.seconds);
    expect(apart.prediction.seconds).toBe(minOf(behind));
    const given = chosen({ ...step, reductions: 'behind' }, { given: ['reductions', 'passes'], roomForPasses: true });
    expect(given.prediction.seconds).toBe(seconds('behind', 'behind'));
    expect(given.verdicts.map(({ on }) => on)).toEqual([false, false]);
  });

  it('says nothing of passes that have no other beside them', () => {
    const [, passes] = chosen({ ...step, microBatches: 1 }, { roomForPasses: true }).verdicts;
    expect(passes).toEqual({ kind: 'passes', on: false, given: false });
  });
});
