import { getModel, inChunks, namedStrategies, parseLayout, type StepShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { rankMemory, refuseWhatDoesNotFit } from './memory-fit.js';

const stepOf = (model: string, layout: string, sequence: number): StepShape => ({
  model: getModel(model),
  layout: parseLayout(layout),
  sequence,
  sequences: 1,
  microBatches: 1,
  dtype: 'f32',
  strategy: inChunks(namedStrategies.scattered, 1),
});

describe('refuseWhatDoesNotFit', () => {
  it('lets the main job run, and refuses models and sequences that no rank can address', () => {
    refuseWhatDoesNotFit(stepOf('tiny-bytes', 'tp=4,dp=2,ep=2', 128), { ranksHere: 8 });
    expect(() => refuseWhatDoesNotFit(stepOf('mixtral-8x7b', 'tp=4,dp=2,ep=2', 128), { ranksHere: 8 })).toThrow(
      /does not fit: [\d.]+ GiB a rank/u,
    );
    expect(() => refuseWhatDoesNotFit(stepOf('tiny-bytes', 'dp=1', 2 ** 24), { ranksHere: 1 })).toThrow('does not fit');
  });

  it('counts all ranks of the machine', () => {
    const step = stepOf('tiny-bytes', 'tp=4,dp=2,ep=2', 128);
    const { totalBytes } = rankMemory(step);
    refuseWhatDoesNotFit(step, { ranksHere: 8, bytes: 8 * totalBytes });
    expect(() => refuseWhatDoesNotFit(step, { ranksHere: 8, bytes: 7 * totalBytes })).toThrow('8 x ');
  });
});
