import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestChunks, chunkedSeconds, idealChunks, pipelineSeconds, unevenPipelineSeconds } from './pipeline.js';
import { maxOf } from '../units/index.js';

const seconds = fc.double({ min: 0.001, max: 100, noNaN: true });

describe('pipelines', () => {
  it('of equal chunks agree with the recurrence for unequal ones', () => {
    fc.assert(
      fc.property(fc.array(seconds, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 12 }), (stages, n) => {
        const uneven = unevenPipelineSeconds(Array.from({ length: n }, () => stages));
        expect(uneven / pipelineSeconds(stages, n)).toBeCloseTo(1, 10);
      }),
      { seed: 31, numRuns: 200 },
    );
  });

  it('have their optimum where the derivative of the closed form is zero', () => {
    // A2A-bound: alpha 1, volume 1000; the gather takes 400: r* = sqrt(400 / 1) = 20
    const slow = { latencySeconds: 1, volumeSeconds: 1000 };
    const fast = { latencySeconds: 0.5, volumeSeconds: 400 };
    expect(idealChunks(slow, [fast])).toBeCloseTo(20, 12);
    expect(bestChunks([slow, fast], 64).chunks).toBe(20);
    expect(bestChunks([fast, slow], 64)).toEqual(bestChunks([slow, fast], 64));
    expect(bestChunks([slow, fast], 8).chunks).toBe(8);
  });

  it('never gain more than what the stages other than the slowest take', () => {
    const stage = fc.record({ latencySeconds: seconds, volumeSeconds: seconds });
    fc.assert(
      fc.property(fc.array(stage, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 30 }), (stages, n) => {
        const slowest = maxOf(stages.map((each) => each.latencySeconds + each.volumeSeconds / n)) * n;
        expect(chunkedSeconds(stages, n)).toBeGreaterThanOrEqual(slowest * (1 - 1e-12));
        expect(bestChunks(stages, 30).seconds).toBeLessThanOrEqual(chunkedSeconds(stages, n));
      }),
      { seed: 32, numRuns: 200 },
    );
  });

  it('say when chunking cannot pay, and refuse half chunks', () => {
    expect(idealChunks({ latencySeconds: 1, volumeSeconds: 5 }, [])).toBe(0);
    expect(idealChunks({ latencySeconds: 0, volumeSeconds: 5 }, [{ latencySeconds: 0, volumeSeconds: 1 }])).toBe(
      Infinity,
    );
    expect(() => pipelineSeconds([1], 1.5)).toThrow(/whole number/u);
  });
});
