/** A rank of training steps whose layers of experts are timed, in several ways in turns. */
import { coordinates } from '@monta/core/layout';
import { stepTokens } from '@monta/core/schedule';
import { Random } from '@monta/core/units';
import { largest } from '../../execute/contest-rank.js';
import { initialiseFromPool } from '../../execute/initialise.js';
import { ParameterStore } from '../../execute/parameter-store.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { runRank } from '../../launch/rank.js';
import { shiftLabels } from '../../transformer/index.js';
import { layerSeconds, type ParallelJob, type RankLayers } from './parallel.js';

const optimizer = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

runRank<ParallelJob>(({ rank, size, endpoint, device, data, report }) => {
  const { step, strategies, warmSteps, steps } = data;
  const parameters = new ParameterStore(step, rank, device);
  initialiseFromPool(parameters, 1);
  const everyone = Array.from({ length: size }, (_, other) => other);
  const world = endpoint.communicator('layers', everyone, device.queue('control'));
  const { dp } = coordinates(step.layout, rank);
  const tokens = stepTokens(step);
  const random = new Random(1, dp);
  const ids = Int32Array.from({ length: tokens }, () => Math.floor(step.model.vocabSize * random.uniform()));
  const targets = new Int32Array(tokens);
  const counted = shiftLabels(ids, step.sequences, step.sequence, targets) * step.layout.dp;
  let number = 0;
  for (const [way, strategy] of strategies.entries()) {
    const executor = new TrainingExecutor({ step: { ...step, strategy }, endpoint, device, parameters, trace: true });
    const seconds: number[] = [];
    for (let count = 0; count < warmSteps + steps; count++) {
      number += 1;
      executor.trainStep([{ ids, targets }], { targets: counted, number, optimizer });
      const own = layerSeconds(executor.takeSpans(), step.model.layers);
      const slowest = largest(device, world, own);
      if (count >= warmSteps) seconds.push(slowest);
    }
    executor.close();
    device.trim?.();
    if (rank === 0) report({ way, seconds } satisfies RankLayers);
  }
});
