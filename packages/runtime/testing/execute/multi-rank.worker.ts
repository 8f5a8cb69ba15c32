/** A rank of the executor's tests: runs every case on its layout, rank 0 returns losses and gathered gradients. */
import { replicaIndex } from '@monta/core/layout';
import { runRank } from '#runtime/launch/rank.js';
import { caseTensor, type CaseResult, type RankCase } from './multi-rank-data.js';
import { ParameterStore } from '#runtime/execute/parameter-store.js';
import { TrainingExecutor } from '#runtime/execute/training-executor.js';

runRank<{ readonly cases: readonly RankCase[] }>(({ rank, endpoint, device, data }) => {
  return data.cases.map((given): CaseResult => {
    const { step } = given;
    const parameters = new ParameterStore(step, rank, device);
    parameters.load((name) => caseTensor(given, parameters.list, name));
    const executor = new TrainingExecutor({ step, endpoint, device, parameters });
    const own = given.batches[replicaIndex(step.layout, rank)];
    const evaluation = executor.evaluate(own[0]).loss;
    const results = Array.from({ length: given.steps ?? 1 }, (_, i) =>
      executor.trainStep(own, {
        targets: given.targets,
        number: i + 1,
        ...(given.optimizer === undefined ? {} : { optimizer: given.optimizer }),
      }),
    );
    const names = parameters.list.map(({ name }) => name);
    const gradients = parameters.gather(names, 'gradient', endpoint);
    const weights =
      given.optimizer === undefined ? new Map<string, Float32Array>() : parameters.gather(names, 'weight', endpoint);
    const result = { name: given.name, results, evaluation, gradients, weights, peakBytes: executor.peakBytes };
    executor.close();
    parameters.close();
    return rank === 0 ? result : { ...result, gradients: new Map(), weights: new Map() };
  });
});
