import { expect, it } from 'vitest';
import { leaveRulesOut } from './leave-rules-out.js';
import { settingOfPeak } from './predict-published.js';
import type { PublishedPeak } from './published-peaks.js';
import { deviceMemory } from './stage-memory.js';

const run = (model: string, layout: string): Omit<PublishedPeak, 'allocatedGib'> => ({
  source: 'made',
  model,
  layout,
  sequence: 2048,
  microBatches: [1],
});

it('rules that do not hold where peaks were measured are found on the other families', () => {
  const runs = [
    run('llama3-8b truncated to 2 layers', 'tp=2,dp=2,sp'),
    run('qwen3-30b-a3b truncated to 2 layers', 'dp=8,ep=8'),
  ];
  // Measured where the experts' and the feed-forward's activations are not kept.
  const measured = runs.map((one) => {
    const setting = settingOfPeak({ ...one, allocatedGib: 0 });
    const { allocatedBytes } = deviceMemory({ ...setting, withoutRules: ['activations'] });
    return { ...one, allocatedGib: allocatedBytes / 2 ** 30 };
  });
  for (const { without, errors } of leaveRulesOut(measured)) {
    expect(without).toContain('activations');
    for (const error of errors) expect(Math.abs(error)).toBeLessThan(0.01);
  }
});
