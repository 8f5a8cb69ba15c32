import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { estimateStep } from './estimate-step.js';
import { estimateMemory } from './estimate-memory.js';
import { minOf } from '../units/index.js';
import { runSetting, type RunSetting } from './run-setting.js';

function setting(changes: Partial<RunSetting> = {}): RunSetting {
  const cluster = changes.cluster ?? getCluster('h100-128x8');
  const layout = changes.layout ?? resolveLayout({ tp: 2, pp: 8, ep: 64, etp: 1, sequenceParallel: true }, 1024);
  const model = getModel('deepseek-v3');
  return runSetting({ model, cluster, layout, sequence: 4096, microBatch: 1, globalBatch: 8192, ...changes });
}

describe('a step in closed form', () => {
  it('splits into parts that add up', () => {
    const { seconds, ...parts } = estimateStep(setting({ virtualStages: 4, recompute: ['mlp', 'moe_act'] })).parts;
    expect(Object.values(parts).reduce((a, b) => a + b, 0)).toBeCloseTo(seconds, 9);
    expect(minOf(Object.values(parts))).toBeGreaterThanOrEqual(0);
  });

  it('is never below the FLOPs over the peak', () => {
    for (const precision of ['bf16', 'fp8'] as const) {
      const { seconds, boundSeconds } = estimateStep(setting({ precision }));
      expect(seconds).toBeGreaterThan(boundSeconds);
    }
  });

  it('takes longer with slower NICs, with skew, and with recomputation', () => {
    const base = estimateStep(setting()).seconds;
    expect(estimateStep(setting({ cluster: getCluster('h100-128x8-8nic-200g') })).seconds).toBeGreaterThan(base);
    expect(estimateStep(setting({ imbalance: 1.5 })).seconds).toBeGreaterThan(base);
    expect(estimateStep(setting({ recompute: 'full' })).seconds).toBeGreaterThan(base);
  });

  it('has the bubble of the pipeline: (pp-1)/m of equal stages, divided by interleaving', () => {
    const model = { ...getModel('llama-3-70b'), vocabSize: 1 };
    const layout = resolveLayout({ tp: 8, pp: 4, sequenceParallel: true }, 256);
    const cluster = getCluster('h100-32x8');
    const of = (virtualStages: number): number => {
      const { parts } = estimateStep(setting({ model, layout, cluster, virtualStages, globalBatch: 128 }));
      const passes = parts.gemm + parts.attention + parts.memory + parts.tp + parts.host;
      return parts.bubble / passes;
    };
    expect(of(1)).toBeCloseTo(3 / 16, 1);
    expect(of(5) / of(1)).toBeCloseTo(1 / 5, 1);
  });
});

describe('memory of a run', () => {
  it('is near what Megatron-Bridge measured for Qwen3-30B-A3B on 16 H100, EP 16', () => {
    const bytes = estimateMemory(
      runSetting({
        model: getModel('qwen3-30b-a3b'),
        cluster: getCluster('h100-2x8'),
        layout: resolveLayout({ ep: 16 }, 16),
        sequence: 4096,
        microBatch: 1,
        globalBatch: 1024,
      }),
    );
    expect(bytes / 2 ** 30).toBeGreaterThan(62.2);
    expect(bytes / 2 ** 30).toBeLessThan(79.6);
  });
});
