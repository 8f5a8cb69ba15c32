import { expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { estimateStep, runSetting, type RunSetting } from '../estimate/index.js';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import type { Span } from '../trace/index.js';
import { lengthOf, maxOf, overlapOf, unionOf, type Interval } from '../units/index.js';
import { passesOf, predictedTrace } from './predicted-trace.js';

const base = runSetting({
  model: getModel('qwen3-30b-a3b'),
  cluster: getCluster('h100-2x8'),
  layout: resolveLayout({ tp: 2, pp: 2, ep: 8, etp: 1, sequenceParallel: true }, 16),
  sequence: 4096,
  microBatch: 1,
  globalBatch: 64,
});

const settings: readonly (readonly [name: string, setting: RunSetting])[] = [
  ['a pipeline', base],
  ['nothing hidden', { ...base, overlap: { tp: false, ep: false, dp: false, pp: false } }],
  ['all_to_all, all computed again', { ...base, dispatcher: 'all_to_all', recompute: 'full' }],
  ['one stage', { ...base, layout: resolveLayout({ ep: 16, etp: 1 }, 16), sharing: 'fsdp' }],
];

const interval = ({ issued, end }: Span): Interval => [issued, end];

it.each(settings)('of %s has the estimate, part by part, on every stage', (_, setting) => {
  const { parts, seconds } = estimateStep(setting);
  const bare = estimateStep({ ...setting, overlap: { tp: false, ep: false, dp: false, pp: false } }).parts;
  const steps = 2;
  const { spans } = predictedTrace(setting, { ranks: Array.from({ length: 16 }, (__, rank) => rank), steps, name: '' });
  const ranks = [...new Set(spans.map(({ rank }) => rank))];
  expect(ranks).toHaveLength(setting.layout.pp);
  for (const rank of ranks) {
    const own = spans.filter((span) => span.rank === rank);
    const compute = unionOf(own.filter(({ lane }) => lane === 'compute').map(interval));
    const communication = unionOf(own.filter(({ lane }) => lane !== 'compute').map(interval));
    const computing = parts.gemm + parts.grouped + parts.attention + parts.memory + parts.optimizer;
    expect(lengthOf(compute)).toBeCloseTo(steps * computing, 9);
    const exposed = parts.tp + parts.cp + parts.ep + parts.dp + parts.pp;
    expect(lengthOf(communication) - overlapOf(communication, compute)).toBeCloseTo(steps * exposed, 9);
    for (const degree of ['tp', 'ep', 'dp', 'pp'] as const) {
      const times = own.filter(({ task }) => task.startsWith(degree.toUpperCase()));
      const all = times.reduce((sum, { issued, end }) => sum + end - issued, 0);
      // before anything was computed, nothing hides it
      expect(all).toBeLessThanOrEqual(steps * Math.max(bare[degree], parts[degree]) * (1 + 1e-9));
      expect(all).toBeGreaterThanOrEqual(steps * Math.max(parts[degree], 0.9 * bare[degree]) * (1 - 1e-9));
    }
    expect(maxOf(own.map(({ end }) => end))).toBeLessThanOrEqual(steps * seconds * (1 + 1e-9));
  }
});

it('fills a pipeline as 1F1B does', () => {
  expect(
    passesOf(0, 3, 4)
      .map((pass) => pass.charAt(0))
      .join(''),
  ).toBe('fffbfbbb');
  expect(
    passesOf(2, 3, 4)
      .map((pass) => pass.charAt(0))
      .join(''),
  ).toBe('fbfbfbfb');
  for (let stage = 0; stage < 4; stage++)
    for (const microBatches of [1, 3, 9]) {
      const passes = passesOf(stage, 4, microBatches);
      expect(passes.filter((pass) => pass === 'forward')).toHaveLength(microBatches);
      let open = 0;
      for (const pass of passes) {
        open += pass === 'forward' ? 1 : -1;
        expect(open).toBeGreaterThanOrEqual(0);
        expect(open).toBeLessThanOrEqual(4 - stage);
      }
    }
});
