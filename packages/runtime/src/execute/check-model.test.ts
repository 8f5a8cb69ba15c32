/** What a kind of device cannot compute yet is refused before a rank starts, and only there. */
import type { StepShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { olmoe, layoutOf, strategyOf } from '../../testing/execute/rank-cases.js';
import { checkExecutable } from './check-model.js';

const step: StepShape = {
  model: olmoe,
  layout: layoutOf({ dp: 2, ep: 2 }),
  sequence: 8,
  sequences: 1,
  microBatches: 1,
  dtype: 'f32',
  strategy: strategyOf('sliced', 'scattered', 1, 1),
};

describe('steps that cannot be executed', () => {
  it('are refused on processors and taken by cards', () => {
    const rounded: StepShape = { ...step, dtype: 'bf16' };
    expect(() => checkExecutable(rounded, 'cpu')).toThrow('computing in bf16');
    const others = [{ capacityFactor: 1.25 }, { selectionBiasRate: 0.001 }, { payload: 'fp8' } as const];
    for (const one of [rounded, step, ...others.map((changes) => ({ ...step, ...changes }))])
      expect(() => checkExecutable(one, 'cuda')).not.toThrow();
  });
});
