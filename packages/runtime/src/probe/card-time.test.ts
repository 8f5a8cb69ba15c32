import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedSeconds } from './card-time.js';

const span = (ready: number, end: number, step = 0, rank = 0) => ({ ready, end, step, rank });

describe('time that kernels take of a card', () => {
  it('is whole where nothing runs beside them, and shared evenly where something does', () => {
    expect(sharedSeconds([span(0, 4), span(4, 5), span(7, 9)])).toEqual([4, 1, 2]);
    expect(sharedSeconds([span(0, 4), span(2, 6)])).toEqual([3, 3]);
    // A long product and two copies within it.
    expect(sharedSeconds([span(0, 10), span(1, 3), span(2, 3)])).toEqual([10 - 2 + 0.5 + 1 / 3, 0.5 + 1 / 3, 1 / 3]);
    expect(sharedSeconds([span(2, 2), span(0, 3)])).toEqual([0, 3]);
  });

  it('is that of one step and one rank: their clocks begin anew', () => {
    expect(sharedSeconds([span(0, 4), span(0, 4, 1), span(0, 4, 0, 1)])).toEqual([4, 4, 4]);
  });

  it('adds up to the time in which any of them ran, whatever their order', () => {
    const times = fc.array(fc.tuple(fc.nat(50), fc.nat(20)), { maxLength: 30 });
    fc.assert(
      fc.property(times, (drawn) => {
        const spans = drawn.map(([ready, length]) => span(ready, ready + length));
        const seconds = sharedSeconds(spans);
        const busy = Array.from({ length: 70 }, (_, at) => spans.some(({ ready, end }) => ready <= at && at < end));
        expect(seconds.reduce((sum, one) => sum + one, 0)).toBeCloseTo(busy.filter(Boolean).length, 9);
        for (const [place, { ready, end }] of spans.entries()) expect(seconds[place]).toBeLessThan(end - ready + 1e-9);
        const turned = sharedSeconds(spans.toReversed()).toReversed();
        for (const [place, one] of turned.entries()) expect(one).toBeCloseTo(seconds[place], 9);
      }),
    );
  });
});
