import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { span } from '../../testing/traces.js';
import { clockOffsets, type Span } from './index.js';

describe('clocks of ranks', () => {
  it('are brought together by what ranks met in, straight or through others', () => {
    const clocks = fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(clocks, clocks, (first, second) => {
        // 0 meets 1, 1 meets 2, 2 meets 3: nobody meets all
        const spans = [first, second].flatMap((starts, step) =>
          [0, 1, 2].flatMap((low) =>
            [low, low + 1].map((rank): Span => {
              const ready = 100 + low - (starts[rank] ?? 0);
              const collective = { name: 'all_gather', group: 'tp', members: [low, low + 1] } as const;
              return span({ rank, step, task: `a${low}`, lane: 'intra', collective }, [ready - 1, ready, ready + 1]);
            }),
          ),
        );
        const offsets = clockOffsets(spans);
        for (const [step, starts] of [first, second].entries())
          for (const rank of [0, 1, 2, 3])
            expect(offsets(step, rank)).toBeCloseTo((starts[rank] ?? 0) - (starts[0] ?? 0), 9);
      }),
      { seed: 21, numRuns: 50 },
    );
  });

  it('stay as they are for ranks that meet nobody', () => {
    const offsets = clockOffsets([span({ rank: 2, task: 'k', lane: 'compute' }, [3, 3, 4])]);
    expect([offsets(0, 2), offsets(1, 0)]).toEqual([0, 0]);
  });
});
