/** Settings simulated: what has a program, and that its step is that of `simulateRun`. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { runSetting, type RunSetting } from '../estimate/index.js';
import { parseLayout } from '../layout/resolve.js';
import { countedElements } from '../memory/states.js';
import { getModel } from '../model/index.js';
import { againstSimulation, drawnSettings, simulateDrawn } from './against-simulation.js';
import { simulateRun } from './simulate-run.js';
import { simulateSetting, stepOfSetting } from './simulated-setting.js';

const settingOf = (change: Partial<RunSetting> = {}): RunSetting =>
  runSetting({
    model: getModel('olmoe-1b-7b truncated to 2 layers'),
    cluster: getCluster('h100-1x8'),
    layout: parseLayout('tp=2,dp=2,ep=2,etp=1,pp=2,sp'),
    sequence: 1024,
    microBatch: 1,
    globalBatch: 8,
    sharing: 'none',
    ...change,
  });

function runOf(setting: RunSetting, depth: 'passes' | 'whole') {
  const step = stepOfSetting(setting);
  if ('known' in step) throw new Error(step.why);
  const model = costModel(setting.cluster.device);
  return simulateRun({ cluster: setting.cluster, step, routing: { kind: 'uniform' }, seed: 1, model, depth });
}

describe('a simulated setting', () => {
  it('is the simulation of its step', () => {
    const setting = settingOf();
    const step = stepOfSetting(setting);
    if ('known' in step) throw new Error(step.why);
    const model = costModel(setting.cluster.device);
    const run = simulateRun({ cluster: setting.cluster, step, routing: { kind: 'uniform' }, seed: 1, model });
    const found = simulateSetting(setting);
    expect(found.known && run.known && found.seconds).toBe(run.known && run.seconds);
  });

  it('steps each weight on one of the ranks that share the optimizer, and then gathers it', () => {
    const [alone, shared] = (['none', 'distributed-optimizer'] as const).map((sharing) =>
      runOf(settingOf({ sharing }), 'passes'),
    );
    if (!alone?.known || !shared?.known) throw new Error('not simulated');
    // every weight is held by two ranks; the norm's reduction over all ranks is the same
    expect(shared.updateSeconds).toBeLessThan(0.75 * alone.updateSeconds);
    expect(shared.updateSeconds).toBeGreaterThan(0.5 * alone.updateSeconds);
  });

  it('takes longer with sharded weights by no more than their gathering, which runs beside the passes', () => {
    const layout = parseLayout('dp=8,ep=4');
    const micro = (count: number, sharing: RunSetting['sharing']) => {
      const run = simulateSetting(settingOf({ layout, sharing, globalBatch: 8 * count }), { exact: true });
      if (!run.known) throw new Error(run.why);
      return run.seconds;
    };
    const [one, four] = [1, 4].map((count) => ({ fsdp: micro(count, 'fsdp'), none: micro(count, 'none') }));
    if (one === undefined || four === undefined) throw new Error('not simulated');
    // gathered and scattered again with every micro-batch: each costs more than one of whole weights
    expect(four.fsdp - one.fsdp).toBeGreaterThan(four.none - one.none);
    // but for what the passes hide: 3 x (2 gathers in bf16 and a scatter in f32) of what a rank's ports take in 450
    // GB/s, and half as much again, since messages of this size do not reach that
    const { dense, expert } = countedElements(settingOf().model, layout, 0);
    const layers = 2 * ((dense * 7) / 8 + expert / 2);
    const ends = 2 * 50304 * 2048 * (7 / 8);
    expect(four.fsdp - one.fsdp - (four.none - one.none)).toBeLessThan((1.5 * 3 * 8 * (layers + ends)) / 450e9);
  });

  it.each(['zero2', 'fsdp'] as const)('passes of %s one by one come near the whole', (sharing) => {
    const setting = settingOf({ sharing, globalBatch: 16 });
    const [passes, whole] = (['passes', 'whole'] as const).map((depth) => runOf(setting, depth));
    if (!passes?.known || !whole?.known) throw new Error('not simulated');
    // A scatter at the end of a backward runs beside the pass behind it, in the whole alone.
    expect(Math.abs(passes.seconds / whole.seconds - 1)).toBeLessThan(0.1);
  });

  it.each([
    ['context parallelism', { layout: parseLayout('tp=1,cp=2,dp=4,ep=2') }],
    ['dualpipe', { schedule: 'dualpipe' as const }],
    ['beside', { overlap: { tp: true, ep: true, dp: true, pp: true } }],
  ])('says that programs lack %s', (word, change) => {
    const found = simulateSetting(settingOf(change));
    expect(found.known ? '' : found.why).toContain(word);
  });
});

it('the closed form at the prices of the simulation is close to it: npm run docs:estimate shows how close', () => {
  const drawn = drawnSettings(5, 24).filter((_, index) => index % 3 === 0);
  const { settings, medianError, p95Error, spearman } = againstSimulation(simulateDrawn(drawn));
  expect(settings).toBe(drawn.length);
  // Of eight: over 500 it is 4 %.
  expect(medianError).toBeLessThan(0.08);
  expect(p95Error).toBeLessThan(0.2);
  // Of eight, neighbours closer than the error may change places.
  expect(spearman).toBeGreaterThan(0.9);
});
