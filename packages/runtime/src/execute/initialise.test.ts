/** First weights: what is constant, what is drawn, and the same values in whatever layout. */
import { parameters, resolveLayout, type StepShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { sinking } from '../../testing/execute/rank-cases.js';
import { CpuDevice } from '../device/cpu/index.js';
import { initialiseParameters, initialTensor } from './initialise.js';
import { ParameterStore } from './parameter-store.js';

const layout = resolveLayout({ tp: 2, dp: 2, ep: 2 });
const step: StepShape = {
  model: sinking,
  layout,
  sequence: 4,
  sequences: 1,
  microBatches: 1,
  dtype: 'f32',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
};
const deviation = sinking.initializerRange;
const list = parameters(sinking, layout);

describe('first weights', () => {
  it('are zeros for biases, ones for norms, and drawn with the deviation elsewhere', () => {
    const valuesOf = (kind: (slot: string) => boolean): Set<number> =>
      new Set(
        list
          .filter(({ slot, shape }) => kind(slot) && shape.length === 1)
          .flatMap((parameter) => [...initialTensor(parameter, 5, deviation)]),
      );
    expect(valuesOf((slot) => /bias$/iu.test(slot))).toEqual(new Set([0]));
    expect(valuesOf((slot) => /norm$/iu.test(slot))).toEqual(new Set([1]));
    expect(valuesOf((slot) => slot === 'attention.sinks').size).toBeGreaterThan(1);
    const head = list.find(({ slot }) => slot === 'head' || slot === 'embedding')!;
    const drawn = initialTensor(head, 5, deviation);
    const square = drawn.reduce((sum, value) => sum + value * value, 0) / drawn.length;
    expect(Math.sqrt(square) / deviation).toBeCloseTo(1, 0);
    expect(initialTensor(head, 6, deviation)).not.toEqual(drawn);
  });

  it('are the same in whatever layout: a rank holds a part of the whole tensor', () => {
    const store = new ParameterStore(step, 1, CpuDevice.create({ bytes: 1 << 20 }));
    initialiseParameters(store, 5);
    const held = store.held();
    expect(held.length).toBeGreaterThan(10);
    for (const { parameter } of held) {
      const whole = new Set(initialTensor(parameter, 5, deviation));
      expect(store.data(parameter.name, 'weight').every((value) => whole.has(value))).toBe(true);
    }
  });
});
