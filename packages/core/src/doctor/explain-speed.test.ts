import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { estimateStep, runSetting, type RunSetting } from '../estimate/index.js';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { InputError } from '../units/index.js';
import { explainSpeed, secondsOfSpeed } from './explain-speed.js';
import { speedOfLog } from './training-log.js';

const setting: RunSetting = runSetting({
  model: getModel('qwen3-235b-a22b'),
  cluster: getCluster('h100-32x8'),
  layout: resolveLayout({ tp: 2, pp: 8, ep: 16, etp: 1, sequenceParallel: true }, 256),
  virtualStages: 4,
  layersOfStages: [2, ...Array<number>(30).fill(3), 2],
  sequence: 4096,
  microBatch: 1,
  globalBatch: 1024,
  overlap: { tp: true, ep: true, dp: true, pp: true },
});

describe('explainSpeed', () => {
  it('has nothing to explain in a run as fast as predicted, or faster', () => {
    const { seconds } = estimateStep(setting);
    for (const share of [0.8, 1, 1.05]) expect(explainSpeed(setting, seconds * share).causes).toEqual([]);
  });

  it.each([
    ['exchange', { dispatcher: 'all_to_all' }],
    ['overlap', { overlap: { tp: false, ep: false, dp: false, pp: false } }],
    ['host', { stack: 'eager' }],
    ['recompute', { recompute: 'full' }],
  ] as const)('names %s with the seconds that it adds, where that is what happened', (cause, happened) => {
    const measured = estimateStep({ ...setting, ...happened }).seconds;
    const gap = measured - estimateStep(setting).seconds;
    const { causes, gapSeconds } = explainSpeed(setting, measured + 0.2 * estimateStep(setting).seconds);
    expect(gapSeconds).toBeGreaterThan(gap);
    const found = causes.find((one) => one.cause === cause);
    expect(found?.seconds ?? 0).toBeCloseTo(gap, 9);
    // the largest first, as far as the gap goes
    const sizes = causes.map(({ seconds }) => Math.min(seconds, gapSeconds));
    expect([...sizes].sort((a, b) => b - a)).toEqual(sizes);
  });

  it('finds the imbalance of experts that explains a gap alone', () => {
    const measured = estimateStep({ ...setting, imbalance: 2 }).seconds;
    const skew = explainSpeed(setting, measured).causes.find(({ cause }) => cause === 'skew');
    const told = Number(/([\d.]+) times the mean/u.exec(skew?.what ?? '')?.[1]);
    expect(Math.abs(told - 2)).toBeLessThan(0.03);
    expect(skew?.seconds).toBeCloseTo(measured - estimateStep(setting).seconds, 9);
  });

  it('names the clocks at which products alone would explain it', () => {
    const { parts, seconds } = estimateStep(setting);
    const bound = parts.gemm + parts.grouped + parts.attention;
    const clocks = explainSpeed(setting, seconds + bound / 0.8 - bound).causes.find(({ cause }) => cause === 'clocks');
    expect(clocks?.what).toContain('80 %');
  });

  it('takes the three ways in which speeds are told, and refuses none', () => {
    const { seconds, tokensPerSecondPerGpu, modelFlopsPerGpu } = estimateStep(setting);
    const told = [
      { stepSeconds: 2 * seconds },
      { tokensPerSecond: tokensPerSecondPerGpu / 2 },
      { flopsPerSecond: modelFlopsPerGpu / 2 },
    ];
    for (const one of told) expect(secondsOfSpeed(one, setting)).toBeCloseTo(2 * seconds, 9);
    expect(() => secondsOfSpeed({ tokensPerSecond: 0 }, setting)).toThrow(InputError);
  });
});

it.each([
  [
    'Megatron-LM',
    (ms: number) => ` iteration 5/ 100 | consumed samples: 20 | elapsed time per iteration (ms): ${ms}.0 | lr: 1`,
    { stepSeconds: 12.4 },
  ],
  ['NeMo', (ms: number) => `Epoch 0: train_step_timing in s=${ms / 1e3}, loss=2`, { stepSeconds: 12.4 }],
  [
    'torchtitan',
    (ms: number) => `step: 10 loss: 8.1 memory: 60GiB(75%) tps: ${ms} mfu: 1%`,
    { tokensPerSecond: 12400 },
  ],
])('reads the log of %s: the median of its steps, without the first', (_, line, told) => {
  const steps = [90000, 40000, 12400, 12300, 12500, 12400];
  expect(speedOfLog(['starting', ...steps.map(line), 'done'].join('\n'))).toEqual(told);
  expect(speedOfLog('nothing here')).toBeUndefined();
});
