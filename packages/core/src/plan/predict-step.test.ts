import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { completeModel } from '../model/index.js';
import { trainingStep } from '../schedule/step.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { layoutOf } from '../../testing/strategies.js';
import { placeOf, simulate } from '../simulate/index.js';
import { predictStep } from './predict-step.js';
import { routedBinding } from './workload.js';

const cluster = getCluster('a800-2x8');
const model = completeModel({
  name: 'small',
  hiddenSize: 2048,
  layers: 5,
  attentionHeads: 16,
  vocabSize: 1024,
  experts: 8,
  topK: 2,
  expertFfn: 4096,
  denseFfn: 8192,
  moeLayers: [true, false, true, true, false],
});

const step: StepShape = {
  model,
  layout: layoutOf({ tp: 4, dp: 2, ep: 2 }),
  sequence: 512,
  sequences: 4,
  microBatches: 2,
  dtype: 'bf16',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 3 } },
};

describe('predicted step', () => {
  it.each(['behind', 'beside'] as const)('is the simulation of the whole program, other forwards %s', (passes) => {
    const costs = costModel(cluster.device);
    const given: StepShape = { ...step, passes };
    const predicted = predictStep({ cluster, step: given, routing: { kind: 'uniform' }, seed: 1, model: costs });
    const whole = simulate({
      place: placeOf(step.layout, cluster),
      programs: [trainingStep(given)],
      bindings: [routedBinding(moeShape(step), { kind: 'uniform' }, 1)],
      model: costs,
    });
    if (!predicted.known || !whole.known) throw new Error('not priced');
    expect(predicted.extended).toBe(true);
    expect(predicted.seconds / whole.summary.makespanSeconds).toBeGreaterThan(0.98);
    expect(predicted.seconds / whole.summary.makespanSeconds).toBeLessThan(1.02);
  });

  it('gives twice the tokens twice the matrix work, and all tokens of all replicas', () => {
    const costs = costModel(cluster.device);
    const at = (sequences: number) => {
      const predicted = predictStep({
        cluster,
        step: { ...step, sequences },
        routing: { kind: 'uniform' },
        seed: 1,
        model: costs,
      });
      if (!predicted.known) throw new Error('not priced');
      return predicted;
    };
    expect(at(32).seconds / at(16).seconds).toBeGreaterThan(1.5);
    expect(at(32).seconds / at(16).seconds).toBeLessThan(2.05);
    expect(at(4).tokensPerSecond * at(4).seconds).toBeCloseTo(512 * 4 * 2 * 2, 6);
  });
});
