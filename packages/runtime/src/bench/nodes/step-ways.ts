/** The training step of a run over nodes: how many layers fit, and in which ways they are trained. */
import type { Layout, MoeModel, StepShape } from '@monta/core';
import { InputError } from '@monta/core/units';
import { placedOn } from '@monta/core/layout';
import { fixedStrategies, halvesName, inChunks, moeShape, namedStrategies } from '@monta/core/schedule';
import { chooseDispatch } from '@monta/core/plan';
import { noOverheads, stageMemory } from '@monta/core/memory';
import { benchWorkload } from '../../probe/dispatch-predict.js';
import type { Ground } from './ground.js';
import { measureSteps, type StepFigures, type StepsJob } from './steps.js';

export interface StepsRequest {
  /** Of which layers are taken. */
  readonly model: MoeModel;
  readonly layout: Layout;
  readonly dtype: 'f32' | 'bf16';
  readonly sequence: number;
  readonly mostLayers: number;
  /** Room of a rank. */
  readonly bytes: number;
  readonly turns: number;
  readonly steps: number;
  /** No way begins another turn after so many. */
  readonly seconds: number;
}

/**
 * As many layers as fit, in the plan's way, `duplicated` and the best fixed strategy; what is there is
 * told turn by turn.
 */
export async function trainingSteps(
  ground: Ground,
  request: StepsRequest,
  { say, onFigures }: { readonly say: (text: string) => void; readonly onFigures: (one: StepFigures) => void },
): Promise<void> {
  const { launcher, cluster } = ground;
  const { model, dtype, sequence, mostLayers, bytes, turns, steps, seconds } = request;
  const layout = placedOn(request.layout, cluster);
  const stepOfLayers = (layers: number): StepShape => ({
    // Its tokens are bytes, so that embedding and head, which no dispatcher touches, leave the room to layers.
    model: { ...model, layers, moeLayers: Array.from({ length: layers }, () => true), vocabSize: 256 },
    layout,
    sequence,
    sequences: 1,
    microBatches: 1,
    dtype,
    strategy: inChunks(namedStrategies.scattered, 1),
  });
  const takes = (step: StepShape): number =>
    stageMemory(
      { step, convention: 'monta', sharing: 'none', precision: dtype === 'bf16' ? 'mixed' : 'full', imbalance: 1 },
      0,
      noOverheads,
    ).totalBytes;
  let layers = mostLayers;
  while (layers > 1 && takes(stepOfLayers(layers)) > bytes) layers -= 1;
  const step = stepOfLayers(layers);
  const ways = waysOfStep(ground, step);
  say(`a step of ${layers} layers, ${(takes(step) / 2 ** 30).toFixed(1)} GiB a rank planned`);
  const plannedBytes = takes(step);
  await measureSteps(launcher, { step, ways, turns, steps, seconds }, (one) => onFigures({ ...one, plannedBytes }));
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
