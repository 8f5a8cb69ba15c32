/** A rank of training steps in several ways, in turns, from weights and tokens of the bench's making. */
import { coordinates } from '@monta/core/layout';
import { stepTokens } from '@monta/core/schedule';
import { Random } from '@monta/core/units';
import { largest } from '../../execute/contest-rank.js';
import { initialiseFromPool } from '../../execute/initialise.js';
import { ParameterStore } from '../../execute/parameter-store.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { runRank } from '../../launch/rank.js';
import { shiftLabels } from '../../transformer/index.js';
import type { RankSteps, StepsJob } from './steps.js';

const optimizer = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

runRank<StepsJob>(({ rank, size, endpoint, device, data, report }) => {
  const { step, ways, turns, steps, seconds: limit } = data;
  const begun = endpoint.now();
  const parameters = new ParameterStore(step, rank, device);
  initialiseFromPool(parameters, 1);
  const everyone = Array.from({ length: size }, (_, other) => other);
  const world = endpoint.communicator('steps', everyone, device.queue('control'));
  const { dp } = coordinates(step.layout, rank);
  const tokens = stepTokens(step);
  const random = new Random(1, dp);
  const ids = Int32Array.from({ length: tokens }, () => Math.floor(step.model.vocabSize * random.uniform()));
  const targets = new Int32Array(tokens);
  const counted = shiftLabels(ids, step.sequences, step.sequence, targets) * step.layout.dp;
  let number = 0;
  for (let turn = 0; turn < turns; turn++)
    for (const [way, { strategy }] of ways.entries()) {
      if (largest(device, world, endpoint.now() - begun) > limit) return;
      const executor = new TrainingExecutor({ step: { ...step, strategy }, endpoint, device, parameters });
      const [seconds, losses]: [number[], number[]] = [[], []];
      // Each turn of a way has the memory for itself; its first step is not timed.
      for (let count = 0; count <= steps; count++) {
        number += 1;
        const start = endpoint.now();
        const { crossEntropy } = executor.trainStep([{ ids, targets }], { targets: counted, number, optimizer });
        if (count === 0) continue;
        seconds.push(endpoint.now() - start);
        losses.push(crossEntropy);
      }
      executor.close();
      device.trim?.();
      report({ way, seconds, losses, peakBytes: device.peakBytes ?? 0 } satisfies RankSteps);
    }
});
