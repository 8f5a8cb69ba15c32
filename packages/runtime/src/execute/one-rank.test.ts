import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isTrained, readHfConfig, trainingStep, type Layout, type MoeModel, type StepShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../checkpoint/safetensors-reader.js';
import { CpuDevice } from '../device/cpu/index.js';
import type { Device } from '../device/device.js';
import { readParameters, type ParameterValues } from '../../testing/transformer/reference-parameters.js';
import { referenceStep } from '../../testing/transformer/reference.js';
import { shiftLabels } from '../transformer/index.js';
import { relativeError } from '../../testing/numbers.js';
import { ParameterStore } from './parameter-store.js';
import { initialTensor } from './initialise.js';
import { LoneEndpoint } from '../comm/lone-endpoint.js';
import { fromReference } from '../../testing/execute/lone-rank.js';
import { ToyDevice } from '../../testing/device/toy-device.js';
import { toyKernels } from '../../testing/device/toy-kernels.js';
import { olmoe } from '../../testing/execute/rank-cases.js';
import { TrainingExecutor, type MicroBatch } from './training-executor.js';

const fixtures = fileURLToPath(new URL('../../../../fixtures/hf/', import.meta.url));
const alone: Layout = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, sequenceParallel: false };
const families = ['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe', 'tiny-qwen2-moe', 'tiny-gpt-oss', 'tiny-deepseek-v3'];

function load(name: string) {
  const folder = `${fixtures}${name}`;
  const model = readHfConfig(readFileSync(`${folder}/config.json`, 'utf8'), `${folder}/config.json`);
  const expected = SafetensorsFile.open(`${folder}/expected.safetensors`);
  const [batches, batch, sequence] = expected.info('input_ids').shape;
  const all = new Int32Array(batches * batch * sequence);
  expected.readInt32('input_ids', all);
  expected.close();
  const idsOf = (i: number): Int32Array => all.subarray(i * batch * sequence, (i + 1) * batch * sequence);
  return { folder, model, batch, sequence, batches, idsOf, values: readParameters(model, folder) };
}

/** The reference's steps on the first batch, by family and capacity: of all tests here it takes the longest. */
const references = new Map<string, ReturnType<typeof referenceStep>>();

function referenceOf(name: string, capacityFactor: number | undefined): ReturnType<typeof referenceStep> {
  const key = `${name} ${capacityFactor ?? 'all'}`;
  const known = references.get(key);
  if (known !== undefined) return known;
  const { model, batch, sequence, idsOf, values } = load(name);
  const options = capacityFactor === undefined ? {} : { capacity: { factor: capacityFactor, slice: batch * sequence } };
  const made = referenceStep(model, values, idsOf(0), idsOf(0), sequence, options);
  references.set(key, made);
  return made;
}

function microBatch(ids: Int32Array, batch: number, sequence: number): MicroBatch & { counted: number } {
  const targets = new Int32Array(ids.length);
  const counted = shiftLabels(ids, batch, sequence, targets);
  return { ids, targets, counted };
}

type MakeDevice = (trace: boolean) => Device;
const onCpu: MakeDevice = (trace) => CpuDevice.create({ bytes: 8 << 20, trace });
const onToy =
  (seed: number): MakeDevice =>
  (trace) =>
    new ToyDevice({ seed, trace, kernels: toyKernels() });

function executorOf(step: StepShape, values: ParameterValues, trace = false, make = onCpu): TrainingExecutor {
  const device = make(trace);
  const parameters = new ParameterStore(step, 0, device);
  parameters.load((name) => fromReference(step.model, values, name));
  return new TrainingExecutor({
    step,
    endpoint: new LoneEndpoint(),
    device,
    parameters,
    trace,
  });
}

const stepOf = (model: MoeModel, sequences: number, sequence: number, more: Partial<StepShape> = {}): StepShape => ({
  model,
  layout: alone,
  sequence,
  sequences,
  microBatches: 1,
  dtype: 'f32',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  ...more,
});

/** Largest relative error of a gradient, and whose. */
function worstGradient(executor: TrainingExecutor, gradients: ParameterValues): { name: string; error: number } {
  return executor.parameters
    .held()
    .filter(({ parameter }) => isTrained(parameter))
    .map(({ parameter: { name } }) => ({
      name,
      error: relativeError(
        executor.parameters.data(name, 'gradient'),
        fromReference(executor.step.model, gradients, name),
      ),
    }))
    .reduce((worst, one) => (one.error > worst.error ? one : worst));
}

const devices = [
  ['the CPU', onCpu],
  ['a toy device', onToy(1)],
] as const;
const onEveryDevice = families.flatMap((name) => devices.map(([title, make]) => [name, title, make] as const));

describe.each(onEveryDevice)('one rank against the float64 reference: %s on %s', (name, _title, make) => {
  it.each([
    ['one chunk', {}],
    [
      '3 chunks forward, 2 backward',
      { strategy: { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 3, backward: 2 } } },
    ],
    [
      'duplicated halves, 2 chunks forward, 3 backward',
      { strategy: { dispatch: 'duplicated', combine: 'duplicated', chunks: { forward: 2, backward: 3 } } },
    ],
    ['a capacity that drops picks', { capacityFactor: 0.75 }],
  ] as const)('losses, norm and every gradient: %s', (_, more) => {
    const { model, batch, sequence, idsOf, values } = load(name);
    const step = stepOf(model, batch, sequence, more);
    const executor = executorOf(step, values, false, make);
    const given = microBatch(idsOf(0), batch, sequence);
    const result = executor.trainStep([given], { targets: given.counted, number: 1 });
    const reference = referenceOf(name, step.capacityFactor);
    expect(Math.abs(result.loss - reference.loss)).toBeLessThan(2e-6);
    expect(Math.abs(result.auxiliaryLoss - reference.auxiliaryLoss)).toBeLessThan(2e-6);
    expect(Math.abs(result.gradientNorm - reference.gradientNorm)).toBeLessThan(5e-6);
    expect(worstGradient(executor, reference.gradients)).toMatchObject({
      error: expect.toSatisfy((error: number) => error < 2e-5) as number,
    });
  });

  it('a second step on the same executor gives the same gradients', () => {
    const { model, batch, sequence, idsOf, values } = load(name);
    const executor = executorOf(stepOf(model, batch, sequence), values, false, make);
    const given = microBatch(idsOf(1), batch, sequence);
    const run = () => executor.trainStep([given], { targets: given.counted, number: 1 });
    const first = run();
    const gradientsOf = () =>
      executor.parameters.held().map(({ parameter }) => executor.parameters.data(parameter.name, 'gradient'));
    const gradients = gradientsOf();
    const peak = executor.peakBytes;
    expect(run()).toEqual(first);
    expect(gradientsOf()).toEqual(gradients);
    expect(executor.peakBytes).toBe(peak);
  });

  it('12 steps of AdamW as Hugging Face and PyTorch take them', () => {
    const { folder, model, batch, sequence, batches, idsOf, values } = load(name);
    const parsed: unknown = JSON.parse(readFileSync(`${folder}/trajectory.json`, 'utf8'));
    const { loss_and_grad_norm: trajectory } = parsed as { loss_and_grad_norm: [number, number][] };
    expect(trajectory).toHaveLength(batches);
    const executor = executorOf(stepOf(model, batch, sequence), values, false, make);
    const optimizer = {
      learningRate: 3e-3,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0.1,
      maxNorm: 1,
    };
    trajectory.forEach(([loss, norm], i) => {
      const given = microBatch(idsOf(i), batch, sequence);
      const result = executor.trainStep([given], { targets: given.counted, number: i + 1, optimizer });
      expect(Math.abs(result.loss - loss)).toBeLessThan(1e-4);
      expect(Math.abs(result.gradientNorm - norm)).toBeLessThan(1e-3);
    });
  });
});

describe('a device of another kind', () => {
  it.each([1, 2, 3])('gives the same bits in whatever legal order it runs (seed %i)', (seed) => {
    const { model, batch, sequence, idsOf, values } = load('tiny-qwen3-moe');
    const step = stepOf(model, batch, sequence, {
      microBatches: 2,
      strategy: { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 3, backward: 2 } },
    });
    const optimizer = { learningRate: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxNorm: 1 };
    const run = (make: MakeDevice) => {
      const executor = executorOf(step, values, false, make);
      const results = [0, 1].map((number) => {
        const given = [0, 1].map((i) => microBatch(idsOf(2 * number + i), batch, sequence));
        const targets = given[0].counted + given[1].counted;
        return executor.trainStep(given, { targets, number: number + 1, optimizer });
      });
      const { parameters } = executor;
      const digest = createHash('sha256');
      for (const { parameter } of parameters.held()) digest.update(parameters.data(parameter.name, 'weight'));
      const held = executor.evaluate(microBatch(idsOf(3), batch, sequence));
      return { results, weights: digest.digest('hex'), held };
    };
    expect(run(onToy(seed))).toEqual(run(onCpu));
  });
});

describe('micro-batches and evaluation', () => {
  it('micro-batches sum up: cross entropy over all targets, auxiliary loss averaged', () => {
    const { model, batch, sequence, idsOf, values } = load('tiny-mixtral');
    const executor = executorOf(stepOf(model, batch, sequence, { microBatches: 2 }), values);
    const given = [0, 1].map((i) => microBatch(idsOf(i), batch, sequence));
    const result = executor.trainStep(given, { targets: given[0].counted + given[1].counted, number: 1 });
    const references = [0, 1].map((i) => referenceStep(model, values, idsOf(i), idsOf(i), sequence));
    expect(result.loss).toBeCloseTo((references[0].loss + references[1].loss) / 2, 6);
    const mean = new Map(
      [...references[0].gradients].map(([name, gradient]) => [
        name,
        gradient.map((value, i) => (value + (references[1].gradients.get(name)?.[i] ?? NaN)) / 2),
      ]),
    );
    expect(worstGradient(executor, mean).error).toBeLessThan(2e-5);
  });

  it('evaluation gives the loss of the step, and keeps the gradients', () => {
    const { model, batch, sequence, idsOf, values } = load('tiny-olmoe');
    const executor = executorOf(stepOf(model, batch, sequence, { microBatches: 2 }), values);
    const given = microBatch(idsOf(2), batch, sequence);
    const reference = referenceStep(model, values, idsOf(2), idsOf(2), sequence);
    const result = executor.evaluate(given);
    expect(result.loss).toBeCloseTo(reference.loss, 6);
    expect(result.crossEntropy).toBeCloseTo(reference.crossEntropy, 6);
    expect(result.targets).toBe(given.counted);
  });

  it('spans cover every operation of the step in the order of time', () => {
    const { model, batch, sequence, idsOf, values } = load('tiny-mixtral');
    const step = stepOf(model, batch, sequence);
    const executor = executorOf(step, values, true);
    const given = microBatch(idsOf(0), batch, sequence);
    executor.trainStep([given], { targets: given.counted, number: 7 });
    const program = trainingStep(step);
    const expected = program.nodes.flatMap((node, index) =>
      program.templates[node.template].operations
        .filter(({ body }) => body.kind !== 'bind')
        .map(({ id }) => `${index} ${node.template}/${id}`),
    );
    const spans = executor.takeSpans();
    expect(spans.map(({ node, operation }) => `${node} ${operation}`).sort()).toEqual(expected.sort());
    expect(spans.every(({ step: number, rank }) => number === 7 && rank === 0)).toBe(true);
    const inOrder = spans.every(
      ({ issued, ready, end }, i) => issued >= 0 && ready >= issued && end >= ready && end >= (spans[i - 1]?.end ?? 0),
    );
    expect(inOrder).toBe(true);
    expect(executor.takeSpans()).toEqual([]);
  });

  it('gradients are the slopes of the evaluated loss', () => {
    // Every expert is picked, so that the loss has no jumps where a token would change its experts.
    const smooth = { ...olmoe, topK: olmoe.experts };
    const step = stepOf(smooth, 2, 7);
    const device = CpuDevice.create({ bytes: 8 << 20 });
    const parameters = new ParameterStore(step, 0, device);
    parameters.load((name) =>
      initialTensor(
        parameters.list.find((one) => one.name === name)!,
        5,
        0.25,
      ),
    );
    const executor = new TrainingExecutor({
      step,
      endpoint: new LoneEndpoint(),
      device,
      parameters,
    });
    const given = microBatch(
      Int32Array.from({ length: 14 }, (_, i) => (i * 11) % 29),
      2,
      7,
    );
    executor.trainStep([given], { targets: given.counted, number: 1 });
    const off = parameters.held().filter(({ parameter: { name } }) => {
      const gradient = parameters.data(name, 'gradient');
      const length = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
      const start = parameters.data(name, 'weight');
      const lossAt = (distance: number): number => {
        parameters.write(
          name,
          'weight',
          start.map((w, i) => w + (distance * gradient[i]) / length),
        );
        return executor.evaluate(given).loss;
      };
      const distance = 2 ** -7;
      const slope = (lossAt(distance) - lossAt(-distance)) / (2 * distance);
      parameters.write(name, 'weight', start);
      // Float32 losses near 4 leave about 1e-4 on a slope.
      return !(Math.abs(slope - length) < 3e-4 + 5e-3 * length);
    });
    expect(off.map(({ parameter }) => parameter.name)).toEqual([]);
  });
});
