/** A rank of training steps whose layers of experts are timed, in several ways in turns. */
import { largest } from '../../execute/contest-rank.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { runRank } from '../../launch/rank.js';
import { BenchTraining } from '../bench-training.js';
import { layerSeconds, type ParallelJob, type RankLayers } from './parallel.js';

runRank<ParallelJob>(({ rank, size, endpoint, device, data, report }) => {
  const { step, strategies, warmSteps, steps } = data;
  const training = new BenchTraining(step, rank, device, { unlike: true });
  const { parameters } = training;
  const everyone = Array.from({ length: size }, (_, other) => other);
  const world = endpoint.communicator('layers', everyone, device.queue('control'));
  for (const [way, strategy] of strategies.entries()) {
    const executor = new TrainingExecutor({ step: { ...step, strategy }, endpoint, device, parameters, trace: true });
    const seconds: number[] = [];
    for (let count = 0; count < warmSteps + steps; count++) {
      // Weights stay, as the peer's do.
      training.differentiate(executor);
      const own = layerSeconds(executor.takeSpans(), step.model.layers);
      const slowest = largest(device, world, own);
      if (count >= warmSteps) seconds.push(slowest);
    }
    executor.close();
    device.trim?.();
    if (rank === 0) report({ way, seconds } satisfies RankLayers);
  }
});
