/** Saves a job's state after the steps that its plan names. */
import { jobRecord, saveTrainingState } from '../checkpoint/index.js';
import type { ParameterStore } from '../execute/index.js';
import type { RankContext } from '../launch/index.js';
import type { CheckpointReport, TrainJob } from './job.js';

/** Sequences of a whole step, over all replicas. */
export const sequencesPerStep = ({ step: { layout, microBatches, sequences } }: TrainJob): number =>
  layout.dp * microBatches * sequences;

/** Whether the job's plan has a state saved after a step. */
export const saveIsDue = ({ checkpoint: plan, steps }: TrainJob, number: number): boolean =>
  plan !== undefined && (number === steps || (plan.every > 0 && number % plan.every === 0));

/** Every rank calls it after each step; tells rank 0 of the checkpoint, when one was due. Throws `SaveError`. */
export function saveStep(
  { endpoint, device, data: job }: RankContext<TrainJob>,
  store: ParameterStore,
  number: number,
): CheckpointReport | undefined {
  const { checkpoint: plan, step, text, seed } = job;
  if (plan === undefined || !saveIsDue(job, number)) return undefined;
  const begin = endpoint.now();
  const saved = saveTrainingState({
    folder: plan.folder,
    keep: plan.keep,
    content: {
      step: number,
      model: step.model,
      layout: step.layout,
      data: {
        text,
        seed,
        nextStep: number + 1,
        sequence: step.sequence,
        sequencesPerStep: sequencesPerStep(job),
      },
      job: jobRecord(job),
    },
    store,
    endpoint,
    device,
  });
  return saved && { kind: 'checkpoint', step: number, ...saved, seconds: endpoint.now() - begin };
}
