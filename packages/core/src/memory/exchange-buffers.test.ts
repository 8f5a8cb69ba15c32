import { describe, expect, it } from 'vitest';
import { parseLayout } from '../layout/resolve.js';
import { getModel } from '../model/names.js';
import { inChunks, namedStrategies } from '../schedule/dispatchers/strategies.js';
import type { StepShape } from '../schedule/step-shape.js';
import { exchangeBufferBytes } from './exchange-buffers.js';
import { noOverheads, stageMemory } from './stage-memory.js';
import { checkWeightShards, type SharingName, type WeightShards } from './states.js';

const stepOf = (model: string, layout: string, sequence = 4096): StepShape => ({
  model: getModel(model),
  layout: parseLayout(layout),
  sequence,
  sequences: 1,
  microBatches: 1,
  dtype: 'bf16',
  strategy: inChunks(namedStrategies.scattered, 1),
});

describe('buffers of exchange libraries', () => {
  it('DeepEP: what its size hints give, worked out by hand', () => {
    // 8 ranks, rows of 14,336 bytes: 10 channels x 8 peers x (5 flags x 4 + 256 x (14,336 + 8 + 2,048)).
    expect(exchangeBufferBytes('deepep', stepOf('deepseek-v3', 'dp=8,ep=8'))).toBe(
      10 * 8 * (5 * 4 + 256 * (14_336 + 8 + 2048)),
    );
    // 64 ranks: 8 nodes; over RDMA 10 channels x 8 nodes x 2 x 128 rows with 16 bytes more, and 18 flags each way.
    expect(exchangeBufferBytes('deepep', stepOf('deepseek-v3', 'dp=64,ep=64'))).toBe(
      10 * 8 * ((2 * 8 + 3) * 4 + 288 * (14_336 + 2056)) + 10 * 8 * (18 * 2 * 4 + 2 * 128 * (14_336 + 2056 + 16)),
    );
  });

  it('HybridEP: every token of the group at one rank, and more for each further domain', () => {
    const inside = exchangeBufferBytes('hybridep', stepOf('qwen3-30b-a3b', 'dp=8,ep=8'));
    // 8 x 4,096 tokens of 2,048 columns, 128 probabilities of the domain's experts, a scale for 128 columns.
    expect(inside).toBe(8 * 4096 * (2 * 2048 + 128 * 4 + 16 * 4));
    const two = exchangeBufferBytes('hybridep', stepOf('qwen3-30b-a3b', 'dp=16,ep=16'));
    expect(two).toBeGreaterThan(2 * inside * 0.9);
    // A rank's own rows are sliced over tp.
    expect(exchangeBufferBytes('hybridep', stepOf('qwen3-30b-a3b', 'tp=2,dp=4,ep=8,etp=1'))).toBeCloseTo(
      inside / 2,
      -1,
    );
  });

  it('are none without an exchange, and with NCCL', () => {
    for (const library of ['deepep', 'hybridep'] as const) {
      expect(exchangeBufferBytes(library, stepOf('qwen3-30b-a3b', 'dp=8,ep=1'))).toBe(0);
      expect(exchangeBufferBytes(library, stepOf('llama3-8b', 'dp=8'))).toBe(0);
    }
    expect(exchangeBufferBytes('nccl', stepOf('qwen3-30b-a3b', 'dp=8,ep=8'))).toBe(0);
  });
});

describe('weight shards (GTP)', () => {
  const memoryOf = (weightShards: WeightShards, sharing: 'none' | 'distributed-optimizer' | 'zero3' = 'none') =>
    stageMemory(
      {
        step: stepOf('qwen3-30b-a3b', 'dp=16,ep=8'),
        convention: 'megatron',
        precision: 'mixed',
        imbalance: 1,
        sharing,
        weightShards,
      },
      0,
      noOverheads,
    );
  const states = (...given: Parameters<typeof memoryOf>) => memoryOf(...given).states;

  it('split weights and gradients, and gather a layer', () => {
    const [none, both] = [states({ dense: 1, expert: 1 }), states({ dense: 4, expert: 2 })];
    // Experts are most of this model: with both split in two, all states shrink to between a half and a quarter.
    expect(both.weights / none.weights).toBeGreaterThan(0.25);
    expect(both.weights / none.weights).toBeLessThan(0.5);
    expect(both.gradients / none.gradients).toBeCloseTo(both.weights / none.weights, 9);
    expect(both.optimizer / none.optimizer).toBeCloseTo(both.weights / none.weights, 9);
    const gathered = (dense: number, expert: number): number => memoryOf({ dense, expert }).activity.gathered;
    expect(gathered(1, 1)).toBe(0);
    expect(gathered(4, 1)).toBeGreaterThan(0);
    expect(gathered(4, 2)).toBeGreaterThan(gathered(4, 1));
    // Split over all ranks with the same weights they are ZeRO 3.
    const all = memoryOf({ dense: 16, expert: 2 });
    const third = memoryOf({ dense: 1, expert: 1 }, 'zero3');
    expect([all.states, all.activity]).toEqual([third.states, third.activity]);
  });

  it('leave the states that a distributed optimizer splits further as they are', () => {
    const whole = states({ dense: 1, expert: 1 }, 'distributed-optimizer');
    const split = states({ dense: 2, expert: 2 }, 'distributed-optimizer');
    expect(split.optimizer).toBe(whole.optimizer);
    expect(split.weights).toBeCloseTo(whole.weights / 2, -1);
  });

  it('refuse what ranks do not divide into', () => {
    const check = (dense: number, expert: number, sharing: SharingName) => () =>
      checkWeightShards({ dense, expert }, parseLayout('dp=16,ep=8'), sharing);
    expect(check(3, 1, 'none')).toThrow('3 weight shards of 16 ranks');
    expect(check(1, 4, 'none')).toThrow('4 weight shards of 2 ranks (edp)');
    expect(check(2, 1, 'zero3')).toThrow('split over all ranks already');
    check(16, 2, 'distributed-optimizer')();
    // A search keeps of them what another layout has ranks for.
    expect(states({ dense: 3, expert: 4 })).toEqual(states({ dense: 1, expert: 2 }));
  });
});
