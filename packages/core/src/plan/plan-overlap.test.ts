import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { parseLayout, placedOn } from '../layout/index.js';
import { getModel, type MoeModel } from '../model/index.js';
import { inChunks, namedStrategies } from '../schedule/dispatchers/strategies.js';
import { overlapKinds } from '../schedule/overlap.js';
import type { StepShape } from '../schedule/step-shape.js';
import { PlanOverlaps } from './plan-overlap.js';
import { simulateRun } from './simulate-run.js';

/** Two layers of a model, so that all ways of a step can be simulated. */
const shallow = (model: MoeModel): MoeModel => ({ ...model, layers: 2, moeLayers: [true, true] });

const cluster = getCluster('a800-2x4-1nic');
const model = costModel(cluster.device);

function stepOf(name: string, layout: string, microBatches: number): StepShape {
  return {
    model: shallow(getModel(name)),
    layout: placedOn(parseLayout(layout, 8), cluster),
    sequence: 2048,
    sequences: 1,
    microBatches,
    dtype: 'bf16',
    strategy: inChunks(namedStrategies.scattered, 1),
  };
}

const secondsOf = (step: StepShape, depth: 'passes' | 'whole' = 'whole'): number => {
  const run = simulateRun({ cluster, step, routing: { kind: 'uniform' }, seed: 1, model, depth });
  if (!run.known) throw new Error(run.missing.join());
  return run.seconds;
};

/** Every kind on or off, reductions too, in some pairs of chunk counts. */
function* everyWay(step: StepShape): Generator<StepShape> {
  for (const forward of [1, 2, 4])
    for (const backward of [1, 3])
      for (let bits = 0; bits < 2 ** (overlapKinds.length + 1); bits++)
        yield {
          ...step,
          strategy: { ...step.strategy, chunks: { forward, backward } },
          overlap: Object.fromEntries(overlapKinds.map((kind, place) => [kind, ((bits >> place) & 1) === 0])),
          reductions: bits >> overlapKinds.length === 0 ? 'beside' : 'behind',
        };
}

const memoryOf = (step: StepShape) =>
  ({ step, convention: 'megatron', sharing: 'distributed-optimizer', precision: 'mixed', imbalance: 1 }) as const;

describe('what of a plan runs beside what', () => {
  it.each([
    ['olmoe-1b-7b', 'dp=8,ep=8', 1],
    ['mixtral-8x7b', 'tp=2,dp=4,ep=4,etp=2', 1],
  ])('%s in %s is as fast as any way of its step', (name, layout, microBatches) => {
    const step = stepOf(name, layout, microBatches);
    const chosen = new PlanOverlaps(cluster, { exact: true }).choose(step, model, memoryOf(step));
    if (!('step' in chosen)) throw new Error(chosen.missing.join());
    const fastest = [...everyWay(step)].reduce((least, way) => Math.min(least, secondsOf(way)), Infinity);
    expect(chosen.simulated.seconds).toBeCloseTo(secondsOf(chosen.step), 12);
    expect(chosen.simulated.seconds).toBeLessThanOrEqual(secondsOf(step));
    expect(chosen.simulated.seconds).toBeLessThanOrEqual(fastest * 1.01);
    expect(chosen.simulated.seconds).toBeLessThan(0.99 * secondsOf(step));
  });

  it('takes pairs of passes only where they fit', () => {
    const step = stepOf('olmoe-1b-7b', 'dp=8,ep=8', 4);
    const chosen = new PlanOverlaps(cluster, { exact: false }).choose(step, model, memoryOf(step));
    const tight = { ...cluster, device: { ...cluster.device, memoryBytes: 2 ** 30 } };
    const apart = new PlanOverlaps(tight, { exact: false }).choose(step, model, memoryOf(step));
    if (!('step' in chosen) || !('step' in apart)) throw new Error('no price');
    expect(apart.step.passes).toBeUndefined();
    expect(chosen.simulated.seconds).toBeLessThanOrEqual(apart.simulated.seconds);
  });
});
