/** The training step of a run over nodes: how many layers fit, and in which ways they are trained. */
import {
  chooseDispatch,
  fixedStrategies,
  getModel,
  halvesName,
  inChunks,
  InputError,
  moeShape,
  namedStrategies,
  placedOn,
  type Layout,
  type StepShape,
} from '@monta/core';
import { noOverheads, stageMemory } from '@monta/core/memory';
import { benchWorkload } from '../../probe/dispatch-predict.js';
import type { Ground } from './ground.js';
import { measureSteps, type StepFigures, type StepsJob } from './steps.js';

export interface StepsRequest {
  readonly layout: Layout;
  readonly sequence: number;
  readonly mostLayers: number;
  /** Room of a rank. */
  readonly bytes: number;
  readonly turns: number;
  readonly steps: number;
}

/** As many layers of the 2x70B as fit, in the plan's way, `duplicated` and the best fixed strategy. */
export async function trainingSteps(
  ground: Ground,
  request: StepsRequest,
  say: (text: string) => void,
): Promise<StepFigures> {
  const { launcher, cluster } = ground;
  const { sequence, mostLayers, bytes, turns, steps } = request;
  const layout = placedOn(request.layout, cluster);
  const stepOfLayers = (layers: number): StepShape => ({
    // Its tokens are bytes, so that embedding and head, which no dispatcher touches, leave the room to layers.
    model: { ...getModel('2x70b'), layers, moeLayers: Array.from({ length: layers }, () => true), vocabSize: 256 },
    layout,
    sequence,
    sequences: 1,
    microBatches: 1,
    dtype: 'bf16',
    strategy: inChunks(namedStrategies.scattered, 1),
  });
  const takes = (step: StepShape): number =>
    stageMemory({ step, convention: 'monta', sharing: 'none', precision: 'mixed', imbalance: 1 }, 0, noOverheads)
      .totalBytes;
  let layers = mostLayers;
  while (layers > 1 && takes(stepOfLayers(layers)) > bytes) layers -= 1;
  const step = stepOfLayers(layers);
  const ways = waysOfStep(ground, step);
  say(`a step of ${layers} layers, ${(takes(step) / 2 ** 30).toFixed(1)} GiB a rank planned`);
  const measured = await measureSteps(launcher, { step, ways, turns, steps });
  return { ...measured, plannedBytes: takes(step) };
}

/** The plan's way, `duplicated`, and the fixed strategy that is predicted the fastest, each once. */
function waysOfStep({ cluster, curves, probe }: Ground, step: StepShape): StepsJob['ways'] {
  const routing = { kind: 'uniform' } as const;
  const workload = benchWorkload({ seen: cluster, shape: moeShape(step), routing, seed: 1, probe, curves });
  const planned = chooseDispatch(workload);
  if (!planned.known) throw new InputError('the step cannot be priced', { expected: planned.missing.join('; ') });
  const duplicated = fixedStrategies.filter((one) => halvesName(one) === 'duplicated');
  const ways = [planned.best.strategy, ...duplicated, planned.bestFixed.strategy];
  const named = new Map(ways.map((strategy) => [JSON.stringify(strategy), { strategy }]));
  return [...named.values()];
}
