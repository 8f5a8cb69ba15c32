import { describe, expect, it } from 'vitest';
import { resolveLayout } from '../layout/index.js';
import { dispatchProgram, expertInput } from './dispatch-only.js';
import { feedersOf } from './feeders.js';
import { namedStrategies } from './dispatchers/strategies.js';

describe('feeders of a region', () => {
  it.each([
    ['sliced', ['all_gather', 'all_to_all', 'pack', 'place']],
    ['scattered', ['all_gather', 'all_to_all', 'pack', 'place']],
    ['duplicated', ['all_to_all', 'gather.tokens', 'pack', 'place']],
  ] as const)('of %s: the way to the experts, in all chunks, and nothing of the way back', (name, tasks) => {
    const layout = resolveLayout({ tp: 2, dp: 2, ep: 2, sequenceParallel: true });
    const shape = { tokens: 64, hiddenSize: 16, expertFfn: 8, experts: 4, topK: 2, layout, dtype: 'f32' } as const;
    const strategy = { ...namedStrategies[name], chunks: { forward: 3, backward: 1 } };
    const template = dispatchProgram(shape, strategy, ['forward']).templates['dispatch.forward'];
    if (template === undefined) throw new Error('no forward template');
    const feeders = feedersOf(template, expertInput);
    expect([...new Set(feeders.map(({ task }) => task))].sort()).toEqual(tasks);
    expect(feeders.filter(({ task }) => task === 'all_to_all').map(({ chunk, of }) => `${chunk}/${of}`)).toEqual([
      '0/3',
      '1/3',
      '2/3',
    ]);
    expect(template.operations.length).toBeGreaterThan(feeders.length);
  });
});
