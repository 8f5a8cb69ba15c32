/** Ranks of the test of written checkpoints: train a few steps, then write the weights in every form. */
import { join } from 'node:path';
import type { StepShape } from '@monta/core';
import { initialiseParameters, ParameterStore, TrainingExecutor } from '#runtime/execute/index.js';
import { runRank } from '#runtime/launch/rank.js';
import type { RankContext } from '#runtime/launch/rank-context.js';
import { exportRanks, type HuggingFaceOutput } from '#runtime/checkpoint/hugging-face-writer.js';
import { saveTrainingState } from '#runtime/checkpoint/training-state-writer.js';

export interface ExportJob {
  readonly step: StepShape;
  readonly steps: number;
  /** Gets a folder of each of `forms`, and the training state. */
  readonly folder: string;
  readonly forms: Readonly<Record<string, Pick<HuggingFaceOutput, 'type' | 'maxShardBytes'>>>;
}

/**
 * Returns, on rank 0, the weights as the ranks hold them after training, and as they were before; nothing of them went
 * by way of a file.
 */
export type ExportResult = Readonly<Record<'before' | 'after', ReadonlyMap<string, Float32Array>>>;

function exportRank({ rank, endpoint, device, data: job }: RankContext<ExportJob>): ExportResult {
  const { step, steps, folder, forms } = job;
  const store = new ParameterStore(step, rank, device);
  initialiseParameters(store, 1);
  const weights = (): ReadonlyMap<string, Float32Array> => {
    const full = store.gather(
      store.list.map(({ name }) => name),
      'weight',
      endpoint,
    );
    return rank === 0 ? full : new Map();
  };
  const before = weights();
  const executor = new TrainingExecutor({ step, endpoint, device, parameters: store });
  const tokens = step.sequences * step.sequence;
  for (let number = 1; number <= steps; number++) {
    const ids = Int32Array.from({ length: tokens }, (_, i) => (7 * i + 3 * number + rank) % step.model.vocabSize);
    executor.trainStep([{ ids, targets: ids.toReversed() }], {
      targets: tokens * step.layout.dp,
      number,
      optimizer: { learningRate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
    });
  }
  const after = weights();
  for (const [name, form] of Object.entries(forms))
    exportRanks(store, endpoint, { ...form, folder: join(folder, name) });
  const content = { step: steps, model: step.model, layout: step.layout };
  saveTrainingState({ folder: join(folder, 'states'), keep: 1, content, store, endpoint, device });
  return { before, after };
}

runRank<ExportJob>(exportRank);
