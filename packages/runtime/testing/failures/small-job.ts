/** The job of the failure suite: small, and saved after every step. */
import { completeModel, resolveLayout } from '@monta/core';
import type { TrainJob } from '#runtime/train/index.js';
import { testOptimizer } from '../train/optimizer.js';

export const smallJobSteps = 12;

/** What its text file holds. */
export const smallText = 'the tide comes in and the tide goes out. '.repeat(200);

/** Trains on a text file on four ranks, and keeps the `keep` last of its checkpoints. */
export function smallJob(text: string, checkpoints: string, keep = smallJobSteps): TrainJob {
  return {
    step: {
      model: completeModel({
        name: 'tiny',
        family: 'mixtral',
        hiddenSize: 32,
        layers: 1,
        attentionHeads: 4,
        keyValueHeads: 2,
        vocabSize: 256,
        experts: 4,
        topK: 2,
        expertFfn: 32,
      }),
      layout: resolveLayout({ tp: 2, dp: 2, ep: 2 }),
      sequence: 8,
      sequences: 2,
      microBatches: 1,
      dtype: 'f32',
      strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
    },
    steps: smallJobSteps,
    seed: 1,
    optimizer: testOptimizer(1e-2, 1),
    text,
    evaluateEvery: 0,
    evaluationBatches: 1,
    tracedSteps: [],
    checkpoint: { folder: checkpoints, every: 1, keep },
    resume: 'latest',
  };
}
