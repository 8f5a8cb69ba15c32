/**
 * Several micro-batches in flight, and gradients reduced beside the backward: what the program allows, and what that
 * gives in time.
 */
import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../testing/strategies.js';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { completeModel } from '../model/index.js';
import { routedBinding } from '../plan/workload.js';
import { compile } from '../schedule/compile.js';
import { inChunks } from '../schedule/dispatchers/strategies.js';
import { stageStep, trainingStep } from '../schedule/step.js';
import { moeShape, type StepShape } from '../schedule/step-shape.js';
import { placeOf, simulate } from './simulate.js';

const cluster = getCluster('a800-2x8');
const model = completeModel({
  name: 'small',
  hiddenSize: 2048,
  layers: 3,
  attentionHeads: 16,
  vocabSize: 1024,
  experts: 8,
  topK: 2,
  expertFfn: 4096,
});

const step: StepShape = {
  model,
  layout: layoutOf({ tp: 4, dp: 4, ep: 2 }),
  sequence: 512,
  sequences: 4,
  microBatches: 3,
  dtype: 'bf16',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 2 } },
  reductionBytes: 2 ** 22,
};

function simulated(changes: Partial<StepShape>, keep: (pass: string) => boolean = () => true) {
  const shape = { ...step, ...changes };
  const program = trainingStep(shape);
  const nodes = program.nodes.filter(({ pass }) => keep(pass));
  const result = simulate({
    place: placeOf(shape.layout, cluster),
    programs: [{ ...program, nodes }],
    bindings: [routedBinding(moeShape(shape), { kind: 'uniform' }, 1)],
    model: costModel(cluster.device),
  });
  if (!result.known) throw new Error(result.missing.join('; '));
  return { nodes, seconds: result.summary.makespanSeconds, spans: result.trace.spans };
}

const times = (run: ReturnType<typeof simulated>, pass: string, microBatch: number): readonly [number, number] => {
  const own = run.spans.filter(
    ({ node }) => run.nodes[node]?.pass === pass && run.nodes[node]?.microBatch === microBatch,
  );
  return own.reduce<readonly [number, number]>(
    ([start, last], { ready, end }) => [Math.min(start, ready), Math.max(last, end)],
    [Infinity, -Infinity],
  );
};

describe('micro-batches in flight', () => {
  it('wait for nothing of each other but sums of gradients and their queues', () => {
    const compiled = compile(trainingStep({ ...step, inFlight: 2 }));
    const nodeOf = (operation: number) => compiled.program.nodes[compiled.operations[operation]?.node ?? -1];
    const waits = compiled.operations.flatMap(({ index, after }) =>
      after.map((before) => [nodeOf(before), nodeOf(index)] as const),
    );
    const across = waits.filter(
      ([before, own]) => own?.pass === 'forward' && before?.pass === 'backward' && before.microBatch !== own.microBatch,
    );
    expect(waits.length).toBeGreaterThan(100);
    expect(across).toEqual([]);
  });

  it('are simulated in the order of issue: a forward ahead of the backward, at no cost', () => {
    const alone = simulated({ inFlight: 1 });
    const two = simulated({ inFlight: 2 });
    const [firstBackward] = times(two, 'backward', 0);
    expect(times(two, 'forward', 1)[1]).toBeLessThanOrEqual(firstBackward);
    expect(times(two, 'forward', 2)[0]).toBeGreaterThan(firstBackward);
    expect(times(alone, 'forward', 1)[0]).toBeGreaterThanOrEqual(times(alone, 'backward', 0)[0]);
    expect(two.seconds / alone.seconds).toBeCloseTo(1, 2);
  });
});

describe('a forward beside the backward of another micro-batch', () => {
  it('communicates while the other computes, and takes no longer than apart, nor less than either alone', () => {
    const whole = { ...step, strategy: inChunks(step.strategy, 1) };
    const apart = simulated(whole).seconds;
    const beside = simulated({ ...whole, passes: 'beside' });
    expect(beside.seconds).toBeLessThan(0.97 * apart);
    const [forward, backward] = [times(beside, 'forward', 1), times(beside, 'backward', 0)];
    expect(forward[0]).toBeLessThan(backward[1]);
    expect(backward[0]).toBeLessThan(forward[1]);
    const kernels = beside.spans.filter(({ rank, lane }) => rank === 0 && lane === 'compute');
    expect(beside.seconds).toBeGreaterThan(kernels.reduce((sum, { ready, end }) => sum + end - ready, 0));
  });

  it('is the same work: every operation once, in parts that follow one another', () => {
    const [apart, beside] = (['behind', 'beside'] as const).map((passes) => compile(trainingStep({ ...step, passes })));
    const keys = (of: typeof apart) =>
      of?.operations
        .map(({ name, node }) => `${name}/${of.program.nodes[node]?.layer}/${of.program.nodes[node]?.microBatch}`)
        .sort();
    expect(beside?.nodes.length).toBeGreaterThan(apart?.nodes.length ?? NaN);
    expect(keys(beside)).toEqual(keys(apart));
  });

  it('is refused in a pipeline, which orders its passes itself', () => {
    const layout = { ...layoutOf({ tp: 2, dp: 4, ep: 2 }), pp: 2 };
    expect(() => stageStep({ ...step, layout, passes: 'beside' }, 0)).toThrow('pp 2');
  });
});

describe('reductions of gradients', () => {
  it('behind the backward add their own time, beside it less, and never less than what no order can hide', () => {
    const beside = simulated({ reductions: 'beside' }).seconds;
    const behind = simulated({ reductions: 'behind' }).seconds;
    const passes = simulated({}, (pass) => pass !== 'reduce');
    const without = passes.seconds;
    const alone = simulated({}, (pass) => pass === 'reduce').seconds;
    expect(behind / (without + alone)).toBeCloseTo(1, 2);
    // Here reductions take longer than the backward that they can run beside; the first layer's are ready only at its
    // end.
    const [start, end] = times(passes, 'backward', step.microBatches - 1);
    expect(alone).toBeGreaterThan(end - start);
    expect(behind - beside).toBeGreaterThan(0.4 * (end - start));
    expect(behind - beside).toBeLessThanOrEqual(end - start);
    expect(beside).toBeGreaterThanOrEqual(without);
  });

  it('hide nothing where one replica has all', () => {
    const layout = layoutOf({ tp: 4, dp: 1, ep: 1 });
    const [beside, behind] = (['beside', 'behind'] as const).map((reductions) => simulated({ layout, reductions }));
    // Reductions of one rank are still issued, and take their latency.
    expect((behind?.seconds ?? NaN) / (beside?.seconds ?? NaN)).toBeCloseTo(1, 2);
  });
});
