/**
 * Times training steps done in several ways, in turns, before a run takes one of them. Nothing of what they train is
 * kept.
 */
import { appendAll } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import type { FabricOptions } from '../comm/local/fabric.js';
import { ParameterStore, TrainingExecutor } from '../execute/index.js';
import { localLauncher, type Launcher, type RankContext } from '../launch/index.js';
import type { StepWay, TrainJob } from './job.js';
import { rankJob, textOf, trainingMemory, type RankTrainJob } from './rank-job.js';
import { loadStart, prepareStart } from './start.js';
import { stepInputs } from './step-inputs.js';

export interface StrategyTrial {
  /** Start, data and optimizer of the steps. Its strategy, and where it saves, do not matter. */
  readonly job: TrainJob;
  readonly ways: readonly StepWay[];
  /** Steps before all, in the first way: each rank compiles its code, and touches memory for the first time. */
  readonly warmUps: number;
  readonly turns: number;
  /** Timed steps of a way in a turn; one that is not timed comes before them. */
  readonly steps: number;
}

/** As ranks get it. */
export interface RankTrial extends StrategyTrial {
  readonly job: RankTrainJob;
}

export interface TryOptions {
  readonly trial: StrategyTrial;
  /** Runs the ranks, all ways in one launch; default: threads of this process. */
  readonly launcher?: Launcher;
  readonly fabric?: FabricOptions;
  readonly signal?: AbortSignal;
  /** Called after every turn, with how many are done. */
  readonly onTurn?: (done: number) => void;
}

/**
 * Seconds of every timed step on rank 0, by way. Rejects with `InputError` when the job cannot start where it should,
 * with `RankFailure` when a rank fails, and with the signal's reason when stopped.
 */
export async function tryStrategies({
  trial,
  launcher = localLauncher,
  onTurn,
  ...options
}: TryOptions): Promise<number[][]> {
  const { checkpoint: _, ...unsaved } = trial.job;
  const { job } = prepareStart(unsaved);
  const results = (await launcher.launch({
    ranks: worldSize(job.step.layout),
    ...trainingMemory,
    workerModule: new URL('./try-strategies.worker.ts', import.meta.url),
    workerData: { ...trial, job: rankJob(job, launcher) } satisfies RankTrial,
    trace: false,
    onMessage: (_rank, done) => onTurn?.(done as number),
    ...options,
  })) as number[][][];
  return results[0];
}

/** A rank's side. Each turn of a way has the memory for itself, so that trying many takes no more than running one. */
export function tryOnRank({ rank, endpoint, device, data: trial, report }: RankContext<RankTrial>): number[][] {
  const { job, ways, warmUps, turns, steps } = trial;
  const text = textOf(job);
  const parameters = new ParameterStore(job.step, rank, device);
  let number = loadStart(job, parameters);
  const run = (way: StepWay, count: number): number[] => {
    const step = { ...job.step, ...way };
    const executor = new TrainingExecutor({ step, endpoint, device, parameters });
    const seconds = Array.from({ length: count }, () => {
      number += 1;
      const { batches, options } = stepInputs(job, text, rank, number);
      const start = endpoint.now();
      executor.trainStep(batches, options);
      return endpoint.now() - start;
    });
    executor.close();
    return seconds;
  };
  run(ways[0], warmUps);
  const timed = ways.map((): number[] => []);
  for (let turn = 0; turn < turns; turn++) {
    ways.forEach((way, index) => appendAll(timed[index], run(way, 1 + steps).slice(1)));
    if (rank === 0) report(turn + 1);
  }
  return timed;
}
