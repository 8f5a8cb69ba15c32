/** Settings simulated: what has a program, and that its step is that of `simulateRun`. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { runSetting, type RunSetting } from '../estimate/index.js';
import { parseLayout } from '../layout/resolve.js';
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

  it('takes less where ranks share the optimizer, by their share of the update', () => {
    const [alone, shared] = (['none', 'distributed-optimizer'] as const).map((sharing) =>
      simulateSetting(settingOf({ sharing })),
    );
    if (!alone?.known || !shared?.known) throw new Error('not simulated');
    // every weight is held by two ranks
    expect(alone.seconds - shared.seconds).toBeCloseTo(alone.updateSeconds / 2, 12);
  });

  it.each([
    ['context parallelism', { layout: parseLayout('tp=1,cp=2,dp=4,ep=2') }],
    ['dualpipe', { schedule: 'dualpipe' as const }],
    ['weights', { sharing: 'fsdp' as const }],
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
  expect(medianError).toBeLessThan(0.06);
  expect(p95Error).toBeLessThan(0.2);
  expect(spearman).toBeGreaterThan(0.97);
});
