/** What of a peak is of which kind, where one kind is made to outgrow the others. */
import { describe, expect, it } from 'vitest';
import { layoutOf } from '../../testing/strategies.js';
import { completeModel } from '../model/index.js';
import { compile } from '../schedule/compile.js';
import { trainingStep } from '../schedule/step.js';
import { activityBytes, expectedRows, memoryTimeline, type ActivityKind, type MemoryPeak } from './timeline.js';

const [tokens, sequence] = [16, 8];
const shape = {
  name: 'test',
  hiddenSize: 16,
  layers: 2,
  attentionHeads: 4,
  vocabSize: 32,
  experts: 8,
  topK: 2,
  expertFfn: 16,
  denseFfn: 16,
};

function peakOf(changes: Partial<typeof shape>): MemoryPeak {
  const model = completeModel({ ...shape, ...changes });
  const step = trainingStep({
    model,
    layout: layoutOf({ tp: 2, dp: 2, ep: 2 }),
    sequence,
    sequences: tokens / sequence,
    microBatches: 1,
    dtype: 'bf16',
    strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  });
  const { peak } = memoryTimeline(compile(step), { rowsOf: expectedRows() });
  expect(activityBytes(peak.activity)).toBe(peak.bytes);
  return peak;
}

const largest = ({ activity }: MemoryPeak): string =>
  Object.entries(activity).reduce((most, one) => (one[1] > most[1] ? one : most))[0];

describe('kinds of what lives at the peak', () => {
  it.each<readonly [ActivityKind, Partial<typeof shape>]>([
    ['logits', { vocabSize: 1 << 14 }],
    ['saved', { layers: 40 }],
    ['dispatch', { topK: 8, hiddenSize: 256, layers: 1 }],
  ])('%s', (kind, changes) => {
    expect(largest(peakOf(changes))).toBe(kind);
  });

  it('count every logit of the rank in 32 bits', () => {
    const { activity } = peakOf({ vocabSize: 1 << 14 });
    expect(activity.logits).toBeGreaterThanOrEqual((tokens * (1 << 14) * 4) / 2);
  });
});
