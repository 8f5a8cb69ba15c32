import { describe, expect, it } from 'vitest';
import { benchSimulator, simulatorBenchShapes, syntheticJob } from './bench.js';
import { simulate } from './simulate.js';

describe('the simulator bench', () => {
  it('counts the operations of all ranks and times each run, three at least', () => {
    const shape = { nodes: 2, devicesPerNode: 2, layers: 2, chunks: 2, skew: 0.3 };
    const ticksOf = (atLeast: number): number => {
      let ticks = 0;
      // 2 layers, forward and backward, 3 operations and 7 per chunk, on 4 ranks
      expect(benchSimulator(shape, () => (ticks += 1), atLeast)).toMatchObject({
        operations: 4 * 4 * (3 + 7 * 2),
        seconds: 1,
      });
      return ticks;
    };
    // Two for each run, one at the begin and one for each question whether there was time enough.
    expect(ticksOf(0)).toBe(1 + 3 * 2 + 1);
    expect(ticksOf(12)).toBeGreaterThan(1 + 4 * 2);
  });

  it('gives the same trace every time', () => {
    const [, shape] = simulatorBenchShapes;
    if (!shape) throw new Error('no shape');
    expect(simulate(syntheticJob(shape))).toEqual(simulate(syntheticJob(shape)));
  });
});
