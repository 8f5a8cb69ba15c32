/** A rank of training steps in several ways, in turns, from weights and tokens of the bench's making. */
import { largest } from '../../execute/contest-rank.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { runRank } from '../../launch/rank.js';
import { BenchTraining } from '../bench-training.js';
import type { RankSteps, StepsJob } from './steps.js';

runRank<StepsJob>(({ rank, size, endpoint, device, data, report }) => {
  const { step, ways, turns, steps, seconds: limit } = data;
  const begun = endpoint.now();
  const training = new BenchTraining(step, rank, device);
  const { parameters } = training;
  const everyone = Array.from({ length: size }, (_, other) => other);
  const world = endpoint.communicator('steps', everyone, device.queue('control'));
  for (let turn = 0; turn < turns; turn++)
    for (const [way, { strategy }] of ways.entries()) {
      if (largest(device, world, endpoint.now() - begun) > limit) return;
      const executor = new TrainingExecutor({ step: { ...step, strategy }, endpoint, device, parameters });
      const [seconds, losses]: [number[], number[]] = [[], []];
      // Each turn of a way has the memory for itself; its first step is not timed.
      for (let count = 0; count <= steps; count++) {
        const start = endpoint.now();
        const { crossEntropy } = training.trainStep(executor);
        if (count === 0) continue;
        seconds.push(endpoint.now() - start);
        losses.push(crossEntropy);
      }
      executor.close();
      device.trim?.();
      report({ way, seconds, losses, peakBytes: device.peakBytes ?? 0 } satisfies RankSteps);
    }
});
