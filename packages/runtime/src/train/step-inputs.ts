/** What numbered steps of a job are made of, on one rank: the same for every number, whatever ran before. */
import { coordinates } from '@monta/core/layout';
import { stepTokens } from '@monta/core/schedule';
import type { MicroBatch, StepOptions } from '../execute/index.js';
import { learningRateAt } from '../transformer/index.js';
import { trainingBatch, type ByteText, type TokenBatch } from './data/byte-data.js';
import type { TrainJob } from './job.js';

export interface StepInputs {
  readonly batches: readonly MicroBatch[];
  readonly options: StepOptions & Required<Pick<StepOptions, 'optimizer'>>;
}

export const microBatchOf = (batch: TokenBatch): MicroBatch => {
  const ids = new Int32Array(batch.length / 2);
  const targets = new Int32Array(batch.length / 2);
  for (let i = 0; i < ids.length; i++) {
    ids[i] = batch[2 * i];
    targets[i] = batch[2 * i + 1];
  }
  return { ids, targets };
};

/** Batches and settings of step `number`, from 1. */
export function stepInputs(job: TrainJob, text: ByteText, rank: number, number: number): StepInputs {
  const { step, seed, optimizer } = job;
  const { layout, sequence, sequences, microBatches } = step;
  const replica = coordinates(layout, rank).dp;
  const batches = Array.from({ length: microBatches }, (_, micro) => {
    const first = (replica * microBatches + micro) * sequences;
    return microBatchOf(trainingBatch({ text, seed, step: number, first, sequences, sequence }));
  });
  const learningRate = learningRateAt(
    {
      peak: optimizer.learningRate,
      floor: optimizer.minimumLearningRate,
      warmupSteps: optimizer.warmup,
      totalSteps: job.steps,
    },
    number,
  );
  const options = {
    targets: stepTokens(step) * microBatches * layout.dp,
    number,
    optimizer: {
      ...optimizer,
      learningRate,
      ...(Number.isFinite(optimizer.clip) ? { maxNorm: optimizer.clip } : {}),
    },
  };
  return { batches, options };
}
