/** A rank of the memory tests: runs a step of every case, and returns what the rank held at its highest so far. */
import { replicaIndex } from '@monta/core/layout';
import { rankPlace } from '@monta/core/schedule';
import { runRank } from '#runtime/launch/index.js';
import { caseTensor, type RankCase } from './multi-rank-data.js';
import { ParameterStore } from '#runtime/execute/parameter-store.js';
import { TrainingExecutor } from '#runtime/execute/training-executor.js';

export interface HeldBytes {
  /** Of activations and buffers in this case. */
  readonly regionBytes: number;
  /** Of all that the arena handed out, in this case and those before. */
  readonly arenaBytes: number;
  /** Picks of the rank's own tokens, [token][k], by layer with experts and micro-batch; ~id where one was dropped. */
  readonly ids: readonly (readonly Int32Array[])[];
}

runRank<{ readonly cases: readonly RankCase[] }>(({ rank, endpoint, device, data }) =>
  data.cases.map((given): HeldBytes => {
    const { step, targets } = given;
    const parameters = new ParameterStore(step, rank, device);
    parameters.load((name) => caseTensor(given, parameters.list, name));
    const executor = new TrainingExecutor({ step, endpoint, device, parameters });
    executor.trainStep(given.batches[replicaIndex(step.layout, rank)], { targets, number: 1 });
    const { source } = rankPlace(step.layout, rank);
    const ids = step.model.moeLayers.map((moe, layer) =>
      Array.from({ length: moe ? step.microBatches : 0 }, (_, microBatch) =>
        Int32Array.from(executor.routing({ layer, microBatch }).picks(source)?.ids ?? []),
      ),
    );
    const held = { regionBytes: executor.peakBytes, arenaBytes: device.peakAllocatedBytes, ids };
    executor.close();
    parameters.close();
    return held;
  }),
);
