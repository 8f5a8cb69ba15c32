/** A rank's side of a training job: data in, steps, reports out. */
import { join } from 'node:path';
import { coordinates } from '@monta/core/layout';
import { wayOfStep } from '@monta/core/schedule';
import { maxOf } from '@monta/core/units';
import { ParameterStore, TrainingExecutor } from '../execute/index.js';
import type { RankContext } from '../launch/index.js';
import { heldOutBatch, type ByteText } from './data/byte-data.js';
import { DivergenceWatch } from './divergence.js';
import { ForetoldMemory } from './foretold-memory.js';
import type { RankOutcome, StepWay, TrainJob, TrainReport } from './job.js';
import { textOf, type RankTrainJob } from './rank-job.js';
import { saveIsDue, saveStep } from './save.js';
import { loadStart } from './start.js';
import { microBatchOf, stepInputs } from './step-inputs.js';

/** Beside the folders of a run's states: what a card has chosen by measuring. */
const choicesFolder = 'choices';

/** Trains; every rank of the job calls it with the same job. */
export function trainRank(context: RankContext<RankTrainJob>): RankOutcome {
  const { rank, endpoint, device, data: job } = context;
  const { step } = job;
  if (job.checkpoint !== undefined) device.keepChoices?.(join(job.checkpoint.folder, choicesFolder));
  const text = textOf(job);
  const parameters = new ParameterStore(step, rank, device);
  const done = loadStart(job, parameters);
  const trace = job.tracedSteps.length > 0;
  const ways: readonly Partial<StepWay>[] = [{}, ...(job.turns?.others ?? [])];
  const executors = ways.map(
    (way) => new TrainingExecutor({ step: { ...step, ...way }, endpoint, device, parameters, trace }),
  );
  const watch = new DivergenceWatch(context, parameters);
  const foretold = executors.map((executor) => new ForetoldMemory(executor, rank));
  const replica = coordinates(step.layout, rank).dp;
  const report = (message: TrainReport): void => {
    if (rank === 0) context.report(message);
  };
  const traced = new Set(job.tracedSteps);
  const spans: RankOutcome['spans'][number][] = [];
  for (let number = done + 1; number <= job.steps; number++) {
    const { batches, options } = stepInputs(job, text, rank, number);
    const way = wayOfStep(job.turns?.turns, number);
    const executor = executors[way];
    const start = endpoint.now();
    const result = executor.trainStep(batches, options);
    const seconds = endpoint.now() - start;
    foretold[way].after();
    const kept = executor.takeSpans();
    if (traced.has(number)) for (const span of kept) spans.push(span);
    const picks = result.expertLoads.reduce((a, b) => a + b, 0);
    report({
      kind: 'step',
      step: number,
      loss: result.loss,
      crossEntropy: result.crossEntropy,
      auxiliaryLoss: result.auxiliaryLoss,
      gradientNorm: result.gradientNorm,
      learningRate: options.optimizer.learningRate,
      seconds,
      tokens: options.targets,
      expertShares: Array.from(result.expertLoads, (load) => load / picks),
    });
    if (number === job.steps || (job.evaluateEvery > 0 && number % job.evaluateEvery === 0))
      report({ kind: 'evaluation', step: number, crossEntropy: evaluate(executors[0], job, text, replica) });
    // What follows steps that are not finite must not take the place of a good state.
    if (!watch.after(number, result) || !saveIsDue(job, number)) continue;
    watch.beforeSaving(number);
    const saved = saveStep(context, parameters, number);
    if (saved !== undefined) report(saved);
  }
  const { peakBytes: peakDeviceBytes } = device;
  return {
    spans,
    peakBytes: device.peakAllocatedBytes,
    foretoldBytes: maxOf(foretold.map((one) => one.bytes())),
    ...(peakDeviceBytes === undefined ? {} : { peakDeviceBytes }),
  };
}

/** Mean cross entropy over the same held-out sequences every time. */
function evaluate(executor: TrainingExecutor, job: TrainJob, text: ByteText, replica: number): number {
  const { layout, sequences, sequence } = job.step;
  const all = layout.dp * job.evaluationBatches * sequences;
  let sum = 0;
  for (let batch = 0; batch < job.evaluationBatches; batch++) {
    const first = (replica * job.evaluationBatches + batch) * sequences;
    sum += executor.evaluate(microBatchOf(heldOutBatch({ text, first, sequences, of: all, sequence }))).crossEntropy;
  }
  executor.takeSpans();
  return sum / job.evaluationBatches;
}
