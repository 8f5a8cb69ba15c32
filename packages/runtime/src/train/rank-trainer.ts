/** A rank's side of a training job: data in, steps, reports out. */
import { coordinates, stepTokens } from '@monta/core';
import { createGemm } from '../device/cpu/index.js';
import { ParameterStore, TrainingExecutor, type MicroBatch } from '../execute/index.js';
import type { RankContext } from '../launch/index.js';
import { learningRateAt } from '../transformer/index.js';
import { heldOutBatch, readByteText, trainingBatch, type ByteText, type TokenBatch } from './data/byte-data.js';
import type { RankOutcome, TrainJob, TrainReport } from './job.js';
import { saveStep } from './save.js';
import { loadStart } from './start.js';

/** A job as ranks get it: threads share the text that was read once, processes read it themselves. */
export interface RankTrainJob extends TrainJob {
  readonly bytes?: ByteText;
}

const microBatchOf = (batch: TokenBatch): MicroBatch => {
  const ids = new Int32Array(batch.length / 2);
  const targets = new Int32Array(batch.length / 2);
  for (let i = 0; i < ids.length; i++) {
    ids[i] = batch[2 * i];
    targets[i] = batch[2 * i + 1];
  }
  return { ids, targets };
};

/** Trains; every rank of the job calls it with the same job. */
export function trainRank(context: RankContext<RankTrainJob>): RankOutcome {
  const { rank, endpoint, memory, data: job } = context;
  const { step, seed, optimizer } = job;
  const { layout, sequence, sequences, microBatches } = step;
  const text = job.bytes ?? readByteText(job.text, sequence);
  const parameters = new ParameterStore(step, rank, memory);
  const done = loadStart(job, parameters);
  const gemm = createGemm(memory, { onTile: () => endpoint.progress() });
  const executor = new TrainingExecutor({
    step,
    endpoint,
    memory,
    gemm,
    parameters,
    trace: job.tracedSteps.length > 0,
  });
  const replica = coordinates(layout, rank).dp;
  const report = (message: TrainReport): void => {
    if (rank === 0) context.report(message);
  };
  const tokens = stepTokens(step) * microBatches * layout.dp;
  const traced = new Set(job.tracedSteps);
  const spans: RankOutcome['spans'][number][] = [];
  for (let number = done + 1; number <= job.steps; number++) {
    const batches = Array.from({ length: microBatches }, (_, micro) => {
      const first = (replica * microBatches + micro) * sequences;
      return microBatchOf(trainingBatch(text, seed, number, first, sequences, sequence));
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
    const start = endpoint.now();
    const result = executor.trainStep(batches, {
      targets: tokens,
      number,
      optimizer: {
        ...optimizer,
        learningRate,
        ...(Number.isFinite(optimizer.clip) ? { maxNorm: optimizer.clip } : {}),
      },
    });
    const seconds = endpoint.now() - start;
    const kept = executor.takeSpans();
    if (traced.has(number)) spans.push(...kept);
    const picks = result.expertLoads.reduce((a, b) => a + b, 0);
    report({
      kind: 'step',
      step: number,
      loss: result.loss,
      crossEntropy: result.crossEntropy,
      auxiliaryLoss: result.auxiliaryLoss,
      gradientNorm: result.gradientNorm,
      learningRate,
      seconds,
      tokens,
      expertShares: Array.from(result.expertLoads, (load) => load / picks),
    });
    if (number === job.steps || (job.evaluateEvery > 0 && number % job.evaluateEvery === 0))
      report({ kind: 'evaluation', step: number, crossEntropy: evaluate(executor, job, text, replica) });
    const saved = saveStep(context, parameters, number);
    if (saved !== undefined) report(saved);
  }
  return { spans, peakActivationBytes: executor.peakBytes };
}

/** Mean cross entropy over the same held-out sequences every time. */
function evaluate(executor: TrainingExecutor, job: TrainJob, text: ByteText, replica: number): number {
  const { layout, sequences, sequence } = job.step;
  const all = layout.dp * job.evaluationBatches * sequences;
  let sum = 0;
  for (let batch = 0; batch < job.evaluationBatches; batch++) {
    const first = (replica * job.evaluationBatches + batch) * sequences;
    sum += executor.evaluate(microBatchOf(heldOutBatch(text, first, sequences, all, sequence))).crossEntropy;
  }
  executor.takeSpans();
  return sum / job.evaluationBatches;
}
