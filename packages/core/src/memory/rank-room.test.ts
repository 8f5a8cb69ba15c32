import { describe, expect, it } from 'vitest';
import { parseLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { inChunks, namedStrategies, type StepShape } from '../schedule/index.js';
import { rankMemory, refuseWhatDoesNotFit } from './rank-room.js';

const stepOf = (model: string, layout: string, sequence: number): StepShape => ({
  model: getModel(model),
  layout: parseLayout(layout),
  sequence,
  sequences: 1,
  microBatches: 1,
  dtype: 'f32',
  strategy: inChunks(namedStrategies.scattered, 1),
});

const gibibyte = 2 ** 30;
const machine = { ranksHere: 8, bytes: 64 * gibibyte, rankBytes: 4 * gibibyte };

describe('refuseWhatDoesNotFit', () => {
  it('lets the main job run, and refuses models and sequences that no rank can address', () => {
    refuseWhatDoesNotFit(stepOf('tiny-bytes', 'tp=4,dp=2,ep=2', 128), machine);
    expect(() => refuseWhatDoesNotFit(stepOf('mixtral-8x7b', 'tp=4,dp=2,ep=2', 128), machine)).toThrow(
      /does not fit: [\d.]+ GiB a rank/u,
    );
    expect(() => refuseWhatDoesNotFit(stepOf('tiny-bytes', 'dp=1', 2 ** 24), machine)).toThrow('does not fit');
  });

  it('counts all ranks of the machine', () => {
    const step = stepOf('tiny-bytes', 'tp=4,dp=2,ep=2', 128);
    const { totalBytes } = rankMemory(step);
    refuseWhatDoesNotFit(step, { ...machine, bytes: 8 * totalBytes });
    expect(() => refuseWhatDoesNotFit(step, { ...machine, bytes: 7 * totalBytes })).toThrow('8 x ');
  });
});
