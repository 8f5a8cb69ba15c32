/** Steps in which periods are added, against steps that are simulated to the end. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { parseLayout } from '../layout/resolve.js';
import { precisions, sharingRules } from '../memory/index.js';
import { stateSharing } from '../memory/states.js';
import { completeModel } from '../model/model.js';
import { pipelineStep } from '../schedule/step.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { placeOf, simulate, type SimulationJob } from '../simulate/index.js';
import { Random } from '../units/random.js';
import { simulateWhole } from './whole-step.js';
import { routedBinding } from './workload.js';

const modelOf = (layers: number, dense: number) =>
  completeModel({
    name: 'test',
    hiddenSize: 2048,
    layers,
    attentionHeads: 16,
    vocabSize: 16_384,
    experts: 16,
    topK: 4,
    expertFfn: 1024,
    denseFfn: 4096,
    moeLayers: Array.from({ length: layers }, (_, layer) => layer >= dense),
  });

const layouts = ['tp=1,dp=8,ep=8', 'tp=1,dp=4,ep=4,pp=2', 'tp=2,dp=2,ep=4,etp=1,pp=2'];

function drawn(random: Random): { step: StepShape; jobOf: (programs: SimulationJob['programs']) => SimulationJob } {
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)] ?? list[0];
  const layout = parseLayout(pick(layouts));
  const virtualStages = layout.pp > 1 ? 1 + random.integer(2) : 1;
  const layers = layout.pp * virtualStages + random.integer(2);
  const step: StepShape = {
    model: modelOf(layers, random.integer(3)),
    layout,
    sequence: pick([1024, 4096]),
    sequences: 1,
    virtualStages,
    microBatches: layout.pp * (virtualStages > 1 ? 7 : 1) + (virtualStages > 1 ? 0 : 8 + random.integer(3)),
    dtype: 'bf16',
    stateSharing: stateSharing(
      sharingRules[pick(['none', 'distributed-optimizer', 'fsdp'] as const)],
      precisions.mixed,
    ),
    recompute: pick(['none', 'full'] as const),
    strategy: pick([
      { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 2 } } as const,
      { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 1, backward: 1 } } as const,
    ]),
  };
  const cluster = getCluster(pick(['h100-4x2', 'a100-4x2']));
  const hostOverheadSeconds = pick([0, 5e-6, 60e-6]);
  const model = costModel(cluster.device, { inputs: { hostOverheadSeconds }, inputSource: 'test' });
  const bindings = [routedBinding(moeShape(step), { kind: 'uniform' }, 1)];
  return { step, jobOf: (programs) => ({ place: placeOf(layout, cluster), programs, bindings, model }) };
}

describe('a step in one', () => {
  it('is that of all micro-batches where periods of the steady state are added', () => {
    const random = new Random(3);
    let added = 0;
    for (let draw = 0; draw < 5; draw++) {
      const { step, jobOf } = drawn(random);
      const [whole, all] = [simulateWhole(step, jobOf), simulate(jobOf(pipelineStep(step)))];
      if (!whole.known || !all.known) throw new RangeError('not priced');
      if (whole.simulatedMicroBatches < step.microBatches) added += 1;
      expect(whole.seconds / all.summary.makespanSeconds).toBeCloseTo(1, 9);
    }
    expect(added).toBeGreaterThan(2);
  });
});
