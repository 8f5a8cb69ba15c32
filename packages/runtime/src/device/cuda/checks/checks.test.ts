import { describe, expect, it } from 'vitest';
import { cudaAvailable } from '../bindings/index.js';
import { CudaContext } from '../context.js';
import { difference } from './bench.js';
import { checkNames, runCheck } from './index.js';

const { devices } = cudaAvailable();
if (devices === 0)
  process.stdout.write(
    'no CUDA device here: kernels are checked by what `npm run bundle:gpu` makes, on a host with one\n',
  );

describe.skipIf(devices === 0)('kernels of the card beside the CPU', () => {
  it.each(checkNames)('%s', (name) => {
    const context = new CudaContext();
    const failed = runCheck(context, name, 1).filter(({ passed }) => !passed);
    context.close();
    expect(failed).toEqual([]);
  });
});

describe('how checks compare', () => {
  it('is the norm of the difference over the norm of what was expected', () => {
    expect(difference([3, 4.5], [3, 4])).toBeCloseTo(0.1, 12);
    expect(difference([0, 1], [0, 0])).toBe(1);
  });

  it('never passes what is not a number, or is missing', () => {
    expect(difference([1, NaN], [1, 2]) <= 1).toBe(false);
    expect(difference([1], [1, 2]) <= 1).toBe(false);
    expect(difference([Infinity, 2], [1, 2]) <= 1).toBe(false);
  });
});
