import { describe, expect, it } from 'vitest';
import { benchSimulator, simulatorBenchShapes, syntheticJob } from './bench.js';
import { simulate } from './simulate.js';

describe('the simulator bench', () => {
  it('counts the operations of all ranks and asks the clock around each run', () => {
    let ticks = 0;
    const shape = { nodes: 2, devicesPerNode: 2, layers: 2, chunks: 2, skew: 0.3 };
    const result = benchSimulator(shape, () => (ticks += 1), 2);
    // 2 layers, forward and backward, 3 operations and 7 per chunk, on 4 ranks
    expect(result).toMatchObject({ operations: 4 * 4 * (3 + 7 * 2), seconds: 1 });
    expect(ticks).toBe(4);
  });

  it('gives the same trace every time', () => {
    const [, shape] = simulatorBenchShapes;
    if (!shape) throw new Error('no shape');
    expect(simulate(syntheticJob(shape))).toEqual(simulate(syntheticJob(shape)));
  });
});
