/** Whole steps of pipelines: all ranks, one of every kind, and pass by pass. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { parseLayout } from '../layout/resolve.js';
import { completeModel } from '../model/model.js';
import { pipelineStep } from '../schedule/step.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { placeOf, simulate } from '../simulate/index.js';
import { Random } from '../units/random.js';
import { runPipeline } from './pipeline-recurrence.js';
import { simulateRun } from './simulate-run.js';
import { routedBinding } from './workload.js';

const modelOf = (layers: number, dense = 0) =>
  completeModel({
    name: 'test',
    hiddenSize: 2048,
    layers,
    attentionHeads: 16,
    vocabSize: 4096,
    experts: 16,
    topK: 4,
    expertFfn: 1024,
    denseFfn: 4096,
    moeLayers: Array.from({ length: layers }, (_, layer) => layer >= dense),
  });

const stepOf = (change: Partial<StepShape>): StepShape => ({
  model: modelOf(4),
  layout: parseLayout('tp=1,dp=8,ep=8,pp=2'),
  sequence: 4096,
  sequences: 1,
  microBatches: 4,
  dtype: 'bf16',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  ...change,
});

const routing = { kind: 'uniform' } as const;

describe('a pipeline', () => {
  it('takes (m + p - 1) times a micro-batch where stages are alike and transfers are free', () => {
    const seconds = {
      chunk: () => ({ forward: 1, backward: 2, reduced: 2 }),
      transfer: () => 0,
    };
    for (const [pp, microBatches] of [
      [1, 3],
      [2, 5],
      [4, 8],
      [8, 8],
    ] as const) {
      const { finishSeconds, busySeconds } = runPipeline(
        { layout: { ...stepOf({}).layout, pp }, microBatches },
        seconds,
      );
      expect(finishSeconds).toBe((microBatches + pp - 1) * 3);
      expect(busySeconds).toEqual(Array(pp).fill(microBatches * 3));
    }
  });

  it('has a bubble that virtual stages divide by their number', () => {
    const layout = { ...stepOf({}).layout, pp: 4 };
    const chunk = (virtual: number) => () => ({ forward: 1 / virtual, backward: 2 / virtual, reduced: 2 / virtual });
    for (const virtualStages of [1, 2, 4]) {
      const seconds = { chunk: chunk(virtualStages), transfer: () => 0 };
      const { finishSeconds } = runPipeline({ layout, microBatches: 8, virtualStages }, seconds);
      expect(finishSeconds).toBeCloseTo(8 * 3 + (3 * 3) / virtualStages, 12);
    }
  });

  it('is the same with one rank of every kind as with all, interleaved too', () => {
    const random = new Random(4);
    let folded = 0;
    const layouts = [
      'tp=1,dp=8,ep=8,pp=2',
      'tp=2,dp=4,ep=4,etp=1,pp=2',
      'tp=4,dp=1,ep=4,etp=1,pp=4',
      'tp=2,dp=2,ep=2,pp=4',
    ];
    for (const text of layouts) {
      const layout = parseLayout(text);
      const cluster = getCluster('h100-2x8');
      const virtualStages = 1 + random.integer(2);
      const step = stepOf({
        layout,
        model: modelOf(layout.pp * virtualStages + random.integer(3), random.integer(2)),
        virtualStages,
        microBatches: layout.pp * (1 + random.integer(2)),
        recompute: random.integer(2) === 0 ? 'none' : 'selective',
      });
      const job = {
        place: placeOf(layout, cluster),
        programs: pipelineStep(step),
        bindings: [routedBinding(moeShape(step), routing, 1)],
        model: costModel(cluster.device),
      };
      const [one, all] = [simulate(job), simulate({ ...job, ranks: 'all' })];
      if (!one.known || !all.known) throw new RangeError('not priced');
      if (one.summary.events < all.summary.events) folded += 1;
      expect(one.summary.makespanSeconds / all.summary.makespanSeconds).toBeCloseTo(1, 9);
    }
    // the norm over all stages goes along a tree that sets some ranks apart
    expect(folded).toBeGreaterThan(1);
  });

  it('is priced pass by pass within 2 % of the whole, within 7 % where stages are interleaved', () => {
    const random = new Random(9);
    for (let draw = 0; draw < 6; draw++) {
      const cluster = getCluster(draw % 2 === 0 ? 'h100-2x8' : 'a100-2x8');
      const pp = draw % 3 === 0 ? 4 : 2;
      const virtualStages = draw > 3 ? 2 : 1;
      const step = stepOf({
        layout: parseLayout(`tp=1,dp=${16 / pp},ep=${16 / pp},pp=${pp}`),
        model: modelOf(pp * virtualStages * (1 + random.integer(2)), random.integer(2)),
        virtualStages,
        microBatches: pp * (1 + random.integer(3)),
      });
      const request = { cluster, step, routing, seed: 1, model: costModel(cluster.device) };
      const [whole, passes] = (['whole', 'passes'] as const).map((depth) => simulateRun({ ...request, depth }));
      if (!whole?.known || !passes?.known) throw new RangeError('not priced');
      expect(whole.depth).toBe('whole');
      const off = Math.abs(passes.seconds / whole.seconds - 1);
      expect(off).toBeLessThan(virtualStages > 1 ? 0.07 : 0.02);
    }
  });

  it('counts a bubble near (p - 1) / (m + p - 1) where stages are equal', () => {
    const cluster = getCluster('h100-2x8');
    const layout = parseLayout('tp=1,dp=4,ep=4,pp=4');
    const step = stepOf({ layout, model: { ...modelOf(16), vocabSize: 128 }, microBatches: 12 });
    const run = simulateRun({ cluster, step, routing, seed: 1, model: costModel(cluster.device), depth: 'passes' });
    if (!run.known) throw new RangeError('not priced');
    expect(run.bubbleShare).toBeGreaterThan(3 / 15);
    expect(run.bubbleShare).toBeLessThan(3 / 15 + 0.08);
  });
});
