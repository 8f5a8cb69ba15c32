/** A rank of training steps in several ways, in turns, from weights and tokens of the bench's making. */
import { coordinates } from '@monta/core/layout';
import { stepTokens } from '@monta/core/schedule';
import { Random } from '@monta/core/units';
import { initialiseFromPool } from '../../execute/initialise.js';
import { ParameterStore } from '../../execute/parameter-store.js';
import { TrainingExecutor } from '../../execute/training-executor.js';
import { runRank } from '../../launch/rank.js';
import { shiftLabels } from '../../transformer/index.js';
import type { RankSteps, StepsJob } from './steps.js';

const optimizer = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };

runRank<StepsJob>(({ rank, endpoint, device, data: { step, ways, turns, steps }, report }): RankSteps => {
  const parameters = new ParameterStore(step, rank, device);
  initialiseFromPool(parameters, 1);
  const { dp } = coordinates(step.layout, rank);
  const tokens = stepTokens(step);
  const random = new Random(1, dp);
  const ids = Int32Array.from({ length: tokens }, () => Math.floor(step.model.vocabSize * random.uniform()));
  const targets = new Int32Array(tokens);
  const counted = shiftLabels(ids, step.sequences, step.sequence, targets) * step.layout.dp;
  const [seconds, losses] = [ways.map((): number[] => []), ways.map((): number[] => [])];
  let number = 0;
  for (let turn = 0; turn < turns; turn++)
    ways.forEach(({ strategy }, way) => {
      const executor = new TrainingExecutor({ step: { ...step, strategy }, endpoint, device, parameters });
      // Each turn of a way has the memory for itself; the first step of a turn is not timed.
      for (let count = 0; count <= steps; count++) {
        number += 1;
        const start = endpoint.now();
        const { crossEntropy } = executor.trainStep([{ ids, targets }], { targets: counted, number, optimizer });
        if (count === 0) continue;
        seconds[way].push(endpoint.now() - start);
        losses[way].push(crossEntropy);
      }
      executor.close();
      report({ turn, way });
    });
  return { seconds, losses, peakBytes: device.peakBytes ?? 0 };
});
