import { describe, expect, it } from 'vitest';
import { getModel } from '../model/index.js';
import { hybridModel } from './hybrid-models.js';
import { hybridFlopsPerToken, knownKinds } from './layer-amounts.js';
import { evenLayers, knownStages } from './stage-layers.js';

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe('layers of stages', () => {
  it('are those of published layouts of DeepSeek-V3: Et|(tt|)*30mL and Et*4|(tttt|)*14tmL', () => {
    expect(evenLayers(61, 32, 1)).toEqual([1, ...Array.from({ length: 30 }, () => 2), 0]);
    expect(evenLayers(61, 16, 1)).toEqual([4, ...Array.from({ length: 14 }, () => 4), 1]);
  });

  it('are even where they divide, and count embedding and output as layers in Llama 3.1 405B', () => {
    expect(evenLayers(80, 8)).toEqual(Array.from({ length: 8 }, () => 10));
    expect(evenLayers(126, 64)).toEqual([1, ...Array.from({ length: 62 }, () => 2), 1]);
  });

  it('always add up to the model, none below zero', () => {
    for (let layers = 4; layers <= 130; layers += 7)
      for (let stages = 2; stages <= layers; stages += 3)
        for (const multiToken of [0, 1]) {
          const counts = evenLayers(layers, stages, multiToken);
          expect([counts.length, sum(counts)]).toEqual([stages, layers]);
          expect(Math.min(counts[0] ?? 0, counts[stages - 1] ?? 0)).toBeGreaterThanOrEqual(0);
        }
  });

  it('are counted once for stages that are alike', () => {
    const model = getModel('deepseek-v3');
    const stages = knownStages(knownKinds(model), { pp: 16, virtualStages: 1, multiTokenLayers: 1 });
    expect(sum(stages.map((one) => one.stages))).toBe(16);
    expect(stages.length).toBeLessThan(6);
    expect(sum(stages.flatMap((one) => one.layers.map((count) => count * one.stages)))).toBe(61);
  });
});

describe('hybrid models', () => {
  it.each([
    ['Nemotron_3_Nano', 8192, 2.2278e10],
    ['Nemotron V3 Nano 30B (26.02)', 4096, 1.9537e10],
    ['Nemotron_3_Super', 8192, 8.4726e10],
    ['nemotron-3.5-lightning', 8192, 2.8148e10],
  ])('%s at %d tokens needs the FLOPs that published rows imply, within 8 %%', (name, sequence, implied) => {
    const model = hybridModel(name);
    expect(model).toBeDefined();
    if (model === undefined) throw new Error(name);
    expect(Math.abs(hybridFlopsPerToken(model, sequence) / implied - 1)).toBeLessThan(0.08);
  });

  it('are not taken for models of the same series with another architecture', () => {
    for (const name of ['nemotron-3-nano-4b', 'nemotron-3-8b', 'Nemotron4-340B', 'LLAMA3_70B'])
      expect(hybridModel(name)).toBeUndefined();
  });
});
