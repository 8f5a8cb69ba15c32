/** A rank of the memory tests: runs a step of every case, and returns what the rank held at its highest so far. */
import { replicaIndex } from '@monta/core';
import { runRank } from '#runtime/launch/index.js';
import { caseTensor, type RankCase } from './multi-rank-data.js';
import { ParameterStore } from '#runtime/execute/parameter-store.js';
import { TrainingExecutor } from '#runtime/execute/training-executor.js';

export interface HeldBytes {
  /** Of activations and buffers in this case. */
  readonly regionBytes: number;
  /** Of all that the arena handed out, in this case and those before. */
  readonly arenaBytes: number;
  /** Picks by expert, of one micro-batch of the whole job. */
  readonly loads: readonly number[];
}

runRank<{ readonly cases: readonly RankCase[] }>(({ rank, endpoint, device, data }) =>
  data.cases.map((given): HeldBytes => {
    const { step, targets } = given;
    const parameters = new ParameterStore(step, rank, device);
    parameters.load((name) => caseTensor(given, parameters.list, name));
    const executor = new TrainingExecutor({ step, endpoint, device, parameters });
    const { expertLoads } = executor.trainStep(given.batches[replicaIndex(step.layout, rank)], { targets, number: 1 });
    const held = { regionBytes: executor.peakBytes, arenaBytes: device.peakAllocatedBytes, loads: [...expertLoads] };
    executor.close();
    parameters.close();
    return held;
  }),
);
